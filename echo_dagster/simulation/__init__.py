"""Developers who code beside a model, for teams that have no logs yet. Its output is called simulated."""
