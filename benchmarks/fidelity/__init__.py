"""How true the cost model is: predictions against measured serving runs (definitions: docs/fidelity.md)."""
