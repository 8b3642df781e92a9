"""Laws on vectors and matrices."""
