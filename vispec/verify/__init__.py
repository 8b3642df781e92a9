"""Brute force in float64 against the emitted module. It shares no code with the emitter or the kernels, and with the planner
only which guide a latent without one is given."""
