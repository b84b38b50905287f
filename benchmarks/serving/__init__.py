"""Whole clusters that serve requests: a peer's answer, the exact best of the peer's own rows, and our own search."""
