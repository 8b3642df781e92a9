"""Latents that are jointly Gaussian given the rest: which they are, their integral, and their posterior moments."""
