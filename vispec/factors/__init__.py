"""Checked model → tensor program: each law, let and net as nodes; nothing is summed or drawn yet."""
