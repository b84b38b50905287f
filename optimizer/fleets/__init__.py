"""Fleets of workers: the best mix, found and written as a claim."""
