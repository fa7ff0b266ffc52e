"""What `make bench` runs: each speed claim beside its peer or its limit, measured in the same run."""
