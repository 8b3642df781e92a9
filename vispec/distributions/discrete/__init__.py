"""Laws on integers: bits, categories and counts."""
