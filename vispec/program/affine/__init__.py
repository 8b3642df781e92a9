"""Values that are affine in what is drawn."""
