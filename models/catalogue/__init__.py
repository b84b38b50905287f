"""The bundled catalogue: machines, fabrics, kernels, engines and models as JSON files, each constant with its source."""
