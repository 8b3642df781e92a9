"""What is asked of a posterior: of latents, derived quantities and missing numbers."""
