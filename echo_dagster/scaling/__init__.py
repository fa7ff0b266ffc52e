"""How much is enough: train on growing shares of a window, and tell whether more samples still help."""
