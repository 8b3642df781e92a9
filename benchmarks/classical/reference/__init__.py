"""References of the classical models, independent of vispec."""
