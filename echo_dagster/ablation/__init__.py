"""What a step of the refinery is worth: train with it and without it on the same budget, compare on held-out gaps."""
