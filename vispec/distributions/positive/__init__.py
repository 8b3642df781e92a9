"""Laws on the positive reals."""
