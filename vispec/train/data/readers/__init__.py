"""One file per data format; each defines ENTRY, a Reader."""
