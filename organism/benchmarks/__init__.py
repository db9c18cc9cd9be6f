"""Measurements behind petri's card and its choices; run as modules: `python -m organism.benchmarks.NAME`."""
