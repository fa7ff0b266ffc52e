import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from refinery_rows import scored

from echo_dagster.refinery import denoise
from echo_dagster.refinery.schema import DENOISING_SCHEMA
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
    # The language's values are 0.5, 1..11, 50: at most a tenth of the 13 are below 1, and as many above 11.
    assert found[-2:] == ["ppl_low", "ppl_high"]
    # The other stratum has a band of its own: 2 to 10.
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


def test_a_small_stratum_loses_nothing_to_a_quantile_smaller_than_one_of_its_samples():
    narrow = Perplexity(low_quantile=0.02, high_quantile=0.98, min_stratum=20)
    assert reasons(ladder(20), narrow)[0] == [None] * 20
    assert reasons(ladder(51), narrow)[0] == ["ppl_low", *[None] * 49, "ppl_high"]


def test_likelihoods_under_another_model_have_bands_of_their_own():
    changed = [
        {**step, "scorer": "other", "middle_nats_per_token": 10 * number}
        for number, step in enumerate(ladder(11), 1)
    ]
    found, _ = reasons([*ladder(11), *changed])
    assert found == ["ppl_low", *[None] * 9, "ppl_high"] * 2


LIKELIHOOD = st.one_of(st.sampled_from([1.0, 2.0]), st.floats(0, 50))


@hypothesis_settings(max_examples=60)
@given(
    st.lists(st.tuples(LIKELIHOOD, st.sampled_from(["python", "go"]), st.sampled_from([5, 80])), max_size=60),
    st.floats(0, 0.5),
    st.floats(0.5, 1),
)
def test_no_stratum_loses_more_than_the_quantiles_say_and_the_rest_is_inside_its_band(changes, low, high):
    frame = scored(
        *(
            {"middle_nats_per_token": nats, "language": language, "middle_tokens": tokens}
            for nats, language, tokens in changes
        )
    )
    asked = Perplexity(low_quantile=low, high_quantile=high, min_stratum=5)
    decided = denoise.decide(frame, asked)
    assert denoise.decide(frame.reverse(), asked).reverse().equals(decided)
    lost = Counter(decided.filter(band_of="stratum").select("stratum", "reason").iter_rows())
    for stratum, n in decided.group_by("stratum").len().iter_rows():
        assert lost[stratum, "ppl_low"] <= low * n + 1e-9
        assert lost[stratum, "ppl_high"] <= (1 - high) * n + 1e-9
    nats = frame["middle_nats_per_token"]
    is_inside = (decided["low_nats"] <= nats) & (nats <= decided["high_nats"])
    assert (decided["reason"].is_null() == is_inside).all()
    told = denoise.cut(decided, asked)
    assert told.schema == DENOISING_SCHEMA
    assert told["n_before"].sum() == len(frame) and told["n_after"].sum() == decided["reason"].null_count()
    assert (
        told.select(pl.sum_horizontal("n_after", "n_ppl_low", "n_ppl_high", "n_ifd_above_one"))
        .to_series()
        .equals(told["n_before"], check_names=False)
    )


def test_what_the_cut_did_is_told_by_stratum():
    long = [*ladder(4, middle_tokens=80), {"middle_nats_per_token": 2.0, "middle_tokens": 80, "ifd": 1.5}]
    decided = denoise.decide(scored(*ladder(11), *long), BAND)
    told = denoise.with_shares(denoise.cut(decided, BAND))
    # The long ones take the band of python: of its 16 likelihoods the lowest two are 1.
    assert told.drop("scorer", "max_ifd").rows() == [
        ("python/9-24", 11, 9, 1, 1, 0, 2.0, 10.0, "stratum", 11 / 16, 9 / 13, pytest.approx(2 / 11)),
        ("python/>64", 5, 4, 0, 0, 1, 1.0, 10.0, "language", 5 / 16, 4 / 13, pytest.approx(1 / 5)),
    ]
    assert told["max_ifd"].to_list() == [1.0, 1.0]


@pytest.mark.parametrize("column", ["middle_nats_per_token", "ifd"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_likelihood_that_is_no_number_raises_and_names_the_sample(column, value):
    with pytest.raises(ValueError, match=f"{column} is not a finite number for 1 of 12 samples: s0011"):
        reasons([*ladder(11), {column: value}])


def test_no_samples_give_no_decisions():
    assert denoise.decide(scored(), BAND).is_empty()
