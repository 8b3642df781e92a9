"""Data larger than memory: encoded once, block by block, into a file of Arrow, from which minibatches are read."""
