"""Brute force in float64 against the emitted module; shares no code with the planner, the emitter or the kernels."""
