"""A program in float64, with given noise."""
