"""From one row per gap and model to what can be said of a model: means and paired differences, by slice.

What lives here: which slices, which pairs, which unit is resampled. What does not: the bootstrap
(`bootstrap.py`) and the verdict (`gate.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from echo_dagster.evaluation import bootstrap
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA
from echo_dagster.settings import Evaluation

Values = npt.NDArray[np.float64]

#: Each metric is the mean of a column of `PREDICTION_SCHEMA`.
METRICS = {
    "exact_match": "is_exact_match",
    "edit_similarity": "edit_similarity",
    "chrf": "chrf",
    "first_line_match": "is_first_line_match",
    "middle_nats_per_token": "middle_nats_per_token",
    "reversal_rate": "is_reversal",
    "syntax_validity": "is_syntax_valid",
    "tokens_per_completion": "n_tokens",
    "latency_s_per_completion": "latency_s",
    "predicted_acceptance_rate": "predicted_acceptance",
    "predicted_retained_chars": "predicted_retained_chars",
}

#: Metrics of which less is better.
LOWER_IS_BETTER = ("middle_nats_per_token", "reversal_rate", "latency_s_per_completion")

#: Slices by the length of C_N: the most characters of each but the last.
LENGTHS = (20, 80)

#: Users differ more than their gaps do, so they are resampled whole. Of eight and more the interval covers the truth as
#: often as it says, of five no more (benchmarks/coverage.py).
MIN_USERS = 8


def summarise(predictions: pl.DataFrame, settings: Evaluation) -> pl.DataFrame:
    """Return `EVALUATED_SCHEMA` for predictions (`PREDICTION_SCHEMA` + `facts`).

    What is resampled: users, where a slice has at least `MIN_USERS`; else regions, because nested gaps share their
    C_N. A metric is taken over the gaps where every role has a value; without one (predicted acceptance without a
    fitted user) it gets no rows.

    Raises:
        ValueError: the roles did not answer the same gaps.
    """
    by_role = {
        role: predictions.filter(pl.col("role") == role).sort("sample_id")
        for role in predictions["role"].unique(maintain_order=True)
    }
    gaps = {role: rows["sample_id"].to_list() for role, rows in by_role.items()}
    if any(answered != next(iter(gaps.values())) for answered in gaps.values()):
        raise ValueError("the models did not answer the same gaps, so they cannot be compared")
    rows = [
        row
        for name, within in _slices(next(iter(by_role.values())), settings)
        for row in _slice_rows(
            name, {role: table.filter(within) for role, table in by_role.items()}, settings
        )
    ]
    return pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")


def facts(held_out: pl.DataFrame) -> pl.DataFrame:
    """Return what `summarise` asks of a gap beside `PREDICTION_SCHEMA`: `region_id` and `middle_chars`."""
    return held_out.select("sample_id", "region_id", middle_chars=pl.col("middle").str.len_chars())


def pairs(roles: Collection[str]) -> list[tuple[str, str]]:
    """Return which roles are compared: each with the base, the candidate with what serves and with plain training."""
    told = [(role, "base") for role in roles if role != "base"]
    told += [("candidate", "champion"), ("candidate", "static")]
    return [pair for pair in told if set(pair) <= set(roles)]


def units(rows: pl.DataFrame) -> list[str]:
    """Return, per row, the name of what is resampled with it."""
    if rows["user_id"].n_unique() >= MIN_USERS:
        return rows["user_id"].to_list()
    return rows.select(pl.coalesce("region_id", "sample_id")).to_series().to_list()


def _slices(rows: pl.DataFrame, settings: Evaluation) -> Iterator[tuple[str, pl.Series]]:
    """Yield the name of each slice and which rows are in it."""
    yield "all", pl.repeat(True, rows.height, eager=True)
    if rows["is_held_out_user"].any():
        yield "held_out_users", rows["is_held_out_user"]
    if rows["is_held_out_repository"].any():
        yield "held_out_repositories", rows["is_held_out_repository"]
    by = {
        "language": rows["language"],
        "length": _lengths(rows["middle_chars"]),
        "outcome": rows["outcome"],
        "cohort": rows["cohort"],
    }
    for kind, values in by.items():
        small = pl.repeat(False, rows.height, eager=True)
        for value in values.drop_nulls().unique().sort():
            within = (values == value).fill_null(False)
            if within.sum() >= settings.min_slice_samples:
                yield f"{kind}={value}", within
            else:
                small |= within
        # The gate guards languages: what is spread over several that are too small alone must not pass unseen.
        if kind == "language" and small.sum() >= settings.min_slice_samples:
            yield "language=others", small


def _lengths(chars: pl.Series) -> pl.Series:
    """Return the bin of each length by its name."""
    starts = (1, *(most + 1 for most in LENGTHS))
    names = [f"{start}-{most}" for start, most in zip(starts, LENGTHS, strict=False)] + [f"{starts[-1]}+"]
    return chars.bin_intervals(LENGTHS, labels=names, right_closed=True).cast(pl.String)


def _slice_rows(
    name: str, by_role: dict[str, pl.DataFrame], settings: Evaluation
) -> Iterator[tuple[object, ...]]:
    digests = {role: rows["model_digest"][0] for role, rows in by_role.items()}
    asked: list[tuple[str, str | None]] = [*((role, None) for role in by_role), *pairs(by_role)]
    columns, told = [], []
    for metric, column in METRICS.items():
        values = {
            role: rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for role, rows in by_role.items()
        }
        is_missing = np.isnan(list(values.values())).any(axis=0)
        for role, versus in () if is_missing.all() else asked:
            of_role = values[role] if versus is None else values[role] - values[versus]
            columns.append(np.where(is_missing, np.nan, of_role))
            told.append((role, versus, metric))
    found = bootstrap.means(
        np.column_stack(columns),
        units(next(iter(by_role.values()))),
        confidence=settings.confidence,
        resamples=settings.bootstrap_samples,
        seed=settings.seed,
    )
    for (role, versus, metric), interval in zip(told, found, strict=True):
        yield (
            *(role, versus, metric, name),
            *(interval.value, interval.low, interval.high, interval.n_values),
            digests[role],
        )
