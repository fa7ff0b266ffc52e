"""The metrics of the comparison as the report names them: title, form, and which way is better."""

from __future__ import annotations

#: Title, form, and which way is better, which decides what a difference is called.
METRICS = {
    "predicted_retained_chars": ("Predicted retained characters", "chars", "higher"),
    "predicted_acceptance_rate": ("Predicted acceptance rate", "share", "higher"),
    "exact_match": ("Exact match", "share", "higher"),
    "edit_similarity": ("Edit similarity", "number", "higher"),
    "chrf": ("chrF", "number", "higher"),
    "first_line_match": ("First-line match", "share", "higher"),
    "middle_nats_per_token": ("NLL of C_N, nats per token", "number", "lower"),
    "prediction_nats_per_token": ("NLL of the answer, nats per token", "number", "neither"),
    "reversal_rate": ("Reversals", "share", "lower"),
    "syntax_validity": ("Syntactically valid", "share", "higher"),
    "tokens_per_completion": ("Tokens per completion", "chars", "neither"),
    "latency_s_per_completion": ("Latency per completion, s", "number", "lower"),
}
#: The unit of each form, as a file of figures names it.
UNITS = {"share": "share of 1", "number": "number", "chars": "count"}
