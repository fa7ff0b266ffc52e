"""What a paired difference comes to, in words."""

import pytest

from echo_dagster.experiments.telling import in_words


@pytest.mark.parametrize(
    ("metric", "difference", "low", "high", "words"),
    [
        ("edit_similarity", 0.1, 0.05, 0.15, "better"),
        ("edit_similarity", -0.1, -0.15, -0.05, "worse"),
        ("middle_nats_per_token", -0.1, -0.15, -0.05, "better"),
        ("latency_s_per_completion", 0.1, 0.05, 0.15, "worse"),
        ("tokens_per_completion", 2.0, 1.0, 3.0, "more"),
        ("tokens_per_completion", -2.0, -3.0, -1.0, "fewer"),
        ("edit_similarity", 0.1, 0.0, 0.2, "no difference within the interval"),
        ("edit_similarity", 0.1, None, None, "one independent unit gives no interval"),
    ],
)
def test_a_difference_in_words(metric, difference, low, high, words):
    assert in_words(metric, difference, low, high) == words
