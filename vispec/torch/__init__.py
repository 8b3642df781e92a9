"""Programs as Python text: the only room with emitted text in it, which is never read back.

code: expressions as trees, with their precedence. names: one place for them. layout: where a tensor has which axis.
elementwise, along, picks, laws, calls: how each node is written. implementations: faster ways to write patterns of nodes, one a
file. lines: which values have lines of their own, in which order. function: a method from a program.
source_text: kernels, carried by their source.
"""
