"""Stage 5: metrics, generation, the calibrated user, the promotion gate and the report."""
