"""The words that statements begin with."""

ROLES = ("latent", "observed", "given", "partial")
PLATES = ("plate", "chain")
SECTIONS = ("guide", "infer", "fit")
BLOCKS = PLATES + SECTIONS
STATEMENTS = ("size", "vocab", "embedding", "param", "net", "let", *ROLES, *BLOCKS)
GOES_ON = ("~", "then", "=", "->", "|>")  # a line that begins so goes on with the one above
