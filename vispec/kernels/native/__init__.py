"""Kernels in C++, for processors: built once per machine where a compiler is there, else torch's take their place."""
