"""Which samples say when to stop, and that nothing of their files is trained on."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.optimization.validation import TooFewSamples, split
from echo_dagster.settings import Training

ORIGINS = ("window", "window", "window", "earlier", "plain")


def training_set(files: list[int]) -> pl.DataFrame:
    """A training set with so many samples in each file."""
    rows = [
        {
            "sample_id": f"{file:03}-{number:03}",
            "repository": None if file % 3 == 0 else f"repository {file % 2}",
            "document": f"file {file // 2}.py",
            "origin": ORIGINS[number % len(ORIGINS)],
        }
        for file, count in enumerate(files)
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema_overrides={"repository": pl.String})


def asking(share: float, **others: object) -> Training:
    return Training(validation_share=share, **{"min_validation_samples": 1, "min_samples": 1, **others})


def files(frame: pl.DataFrame) -> set[tuple]:
    return set(frame.select("repository", "document").rows())


@given(
    counts=st.lists(st.integers(1, 12), min_size=5, max_size=30),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 9),
)
def test_no_file_is_on_both_sides_and_no_sample_is_lost(counts, share, seed):
    rows = training_set(counts)
    try:
        parts = split(rows, asking(share, seed=seed))
    except TooFewSamples:
        n_window = rows.filter(pl.col("origin") == "window").height
        # nothing fitted: every file is larger than the share of the window
        sizes = rows.filter(pl.col("origin") == "window").group_by("repository", "document").len()["len"]
        assert sizes.min() > round(share * n_window)
        return
    assert not files(parts.held_out) & files(parts.trained)
    assert set(parts.held_out["origin"]) == {"window"}
    assert parts.held_out.height <= round(share * rows.filter(pl.col("origin") == "window").height)
    assert parts.trained.height + parts.held_out.height + parts.n_near == rows.height
    assert parts.trained.columns == rows.columns
    again = split(rows.sample(fraction=1, shuffle=True, seed=1), asking(share, seed=seed))
    assert set(again.held_out["sample_id"]) == set(parts.held_out["sample_id"])


def test_what_was_replayed_or_cut_from_a_file_of_the_slice_is_used_for_nothing_and_counted():
    rows = training_set([10] * 20)
    parts = split(rows, asking(0.2))
    in_slice = rows.join(
        parts.held_out.unique(["repository", "document"]),
        on=["repository", "document"],
        nulls_equal=True,
        how="semi",
    )
    assert parts.held_out.height == 24 and in_slice.height == 40 and parts.n_near == 16
    assert not files(in_slice) & files(parts.trained)


def test_another_seed_draws_other_files():
    rows = training_set([10] * 20)
    drawn = {frozenset(files(split(rows, asking(0.2, seed=seed)).held_out)) for seed in range(5)}
    assert len(drawn) > 1


def test_too_few_samples_are_told_with_what_to_do():
    rows = training_set([10] * 20)
    with pytest.raises(
        TooFewSamples, match=r"at most 20% of the window have 24 samples, fewer than .*\(30\); raise"
    ):
        split(rows, asking(0.2, min_validation_samples=30))
    with pytest.raises(
        TooFewSamples, match=r"160 are left to train on, fewer than training.min_samples \(161\)"
    ):
        split(rows, asking(0.2, min_samples=161))
    with pytest.raises(TooFewSamples, match="have 0 samples"):  # one file cannot be cut
        split(training_set([50]), asking(0.2))


def test_samples_that_do_not_say_their_file_are_refused():
    with pytest.raises(ValueError, match="the samples have no document; add what is missing, or set"):
        split(training_set([5]).drop("document"), asking(0.2))
