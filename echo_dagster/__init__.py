"""Echo for Dagster: a better completion model from the completion logs a team already has."""

__version__ = "0.1.0"
