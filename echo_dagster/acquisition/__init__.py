"""Stage 1: one importer per tool's own log format, each ending in the experience log."""
