"""Laws on the real line."""
