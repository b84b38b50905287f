"""Architectures from the configuration files that model repositories publish."""
