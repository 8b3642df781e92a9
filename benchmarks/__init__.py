"""Emitted modules against programs written by hand; `python benchmarks/run.py` measures them."""
