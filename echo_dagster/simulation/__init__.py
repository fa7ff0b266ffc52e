"""Simulated developers who code beside a model: experience logs, called simulated, where there are none."""
