"""Laws on the unit interval."""
