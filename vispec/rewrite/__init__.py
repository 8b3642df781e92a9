"""Programs to programs of the same value that are cheaper, or that say more of what must be computed; one rule a file.

rules: what a rule is, and all of them applied in their order."""
