import math

import pytest
from refinery_rows import scored

from echo_dagster.refinery import denoise
from echo_dagster.settings import Perplexity

BAND = Perplexity(low_quantile=0.1, high_quantile=0.9, min_stratum=10)


def ladder(n, **change):
    """n samples whose nats per token are 1, 2, ..., n."""
    return [{"middle_nats_per_token": float(step), **change} for step in range(1, n + 1)]


def reasons(changes, perplexity=BAND):
    frame = scored(*changes)
    decided = denoise.decide(frame, perplexity)
    assert decided["sample_id"].to_list() == frame["sample_id"].to_list()
    return decided["reason"].to_list(), decided["value"].to_list()


def test_the_band_of_a_stratum_is_kept_ends_included():
    # The quantiles of 1..11 at 0.1 and 0.9 are 2 and 10.
    found, values = reasons(ladder(11))
    assert found == ["ppl_low", *[None] * 9, "ppl_high"]
    assert values == [1.0, *[None] * 9, 11.0]


def test_every_stratum_has_its_own_band():
    long = [
        {**step, "middle_nats_per_token": step["middle_nats_per_token"] + 100}
        for step in ladder(11, middle_tokens=80)
    ]
    found, _ = reasons([*ladder(11), *long])
    assert found == ["ppl_low", *[None] * 9, "ppl_high"] * 2


def test_a_small_stratum_takes_the_band_of_its_language():
    few = {"middle_tokens": 80}
    found, _ = reasons(
        [*ladder(11), {"middle_nats_per_token": 0.5, **few}, {"middle_nats_per_token": 50.0, **few}]
    )
    # The language's values are 0.5, 1..11, 50: its quantiles are 1.2 and 10.8.
    assert found[-2:] == ["ppl_low", "ppl_high"]
    assert found[0] == "ppl_low" and found[10] == "ppl_high"


def test_a_small_language_takes_the_band_of_all():
    found, _ = reasons([*ladder(11), {"middle_nats_per_token": 5.0, "language": "go"}])
    assert found[-1] is None
    found, _ = reasons([*ladder(11), {"middle_nats_per_token": 50.0, "language": "go"}])
    assert found[-1] == "ppl_high"


def test_a_context_that_does_not_help_is_noise():
    found, values = reasons(
        [*ladder(11), {"middle_nats_per_token": 5.0, "ifd": 1.25}, {"middle_nats_per_token": 5.0, "ifd": 1.0}]
    )
    assert found[-2:] == ["ifd_above_one", None]
    assert values[-2:] == [1.25, None]


def test_equal_likelihoods_are_all_kept():
    assert reasons([{} for _ in range(30)])[0] == [None] * 30


@pytest.mark.parametrize("column", ["middle_nats_per_token", "ifd"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_likelihood_that_is_no_number_raises_and_names_the_sample(column, value):
    with pytest.raises(ValueError, match=f"{column} is not a finite number for 1 of 12 samples: s0011"):
        reasons([*ladder(11), {column: value}])


def test_no_samples_give_no_decisions():
    assert denoise.decide(scored(), BAND).is_empty()
