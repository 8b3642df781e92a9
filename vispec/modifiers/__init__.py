"""Laws of laws, one per file."""
