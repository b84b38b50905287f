"""Variants of one instance: what they are, solving them by the thousand, and what the answers say together."""
