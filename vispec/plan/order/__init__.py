"""The planner's elimination on numbers: which sums and products, in which order, and what they cost. Stands on vispec.program.

problem: factors, latents and how they are read. order: the cheapest order of steps, or a refusal with figures (refuse).
steps: what is done, as data that builds itself. execute: the program of an order. search, plated, couple: how it is found.
"""
