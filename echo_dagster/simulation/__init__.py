"""Simulated developers who code beside a model: experience logs where a team has none yet. All of it says so."""
