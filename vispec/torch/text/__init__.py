"""Text: expressions with their precedence, lines, names, positions of axes, kernels by their source."""
