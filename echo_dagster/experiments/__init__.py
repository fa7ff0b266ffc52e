"""Models asked the same held-out gaps: any set of them side by side, and what the experiments that train some share."""
