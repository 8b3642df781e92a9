"""The tensor program: what an emitted module computes, as a graph of nodes whose axes are objects. No model, no text.

size: polynomials in the spec's sizes. axis, node: what a program is made of. build: the only way to make nodes, which folds.
walk: visit, rebuild, substitute. show: one line a node. interpret: its value in float64. cost: what it takes.
"""
