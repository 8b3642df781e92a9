"""How each node is written, and which patterns of them are at once."""
