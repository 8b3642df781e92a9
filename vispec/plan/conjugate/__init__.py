"""Latents that are integrated by their exponential families: which, with what reads them, their evidence and posterior."""
