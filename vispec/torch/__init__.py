"""Programs as Python text: the only room with emitted text in it.

text: expressions as trees, lines, names, where a tensor has which axis, kernels by source. nodes: how each node is written.
implementations: faster ways to write patterns of nodes, one a file. function: a method from a program. members: the methods of
the class. nets: classes of nets. module: all together.
"""
