"""The density of a row, with each variable held as its treatment says: drawn, summed, or at its data."""
