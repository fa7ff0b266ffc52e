"""Models trained on different samples and asked the same held-out gaps: what ablation and scaling share."""
