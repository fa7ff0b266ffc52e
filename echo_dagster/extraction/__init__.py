"""Stage 2: gaps, anchors and break policies: from events to (C_0, C_1, C_N)."""
