"""Answers beside gold: what is predicted against what the data have."""
