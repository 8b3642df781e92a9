"""Faster ways to write patterns of nodes; each file adds one by its ENTRY (see vispec/torch/nodes/implementation.py)."""
