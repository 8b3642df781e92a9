"""What can be said but not compiled, as diagnostics V7xx."""
