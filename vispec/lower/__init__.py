"""Factors and their treatment → the program of every output."""
