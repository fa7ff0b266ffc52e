"""The comparison as a few rows, for the metadata of an asset."""

from __future__ import annotations

import polars as pl
import pytest

from echo_dagster.evaluation.report_models import side_by_side
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA


def rows(metric: str, slice_: str = "all") -> list[tuple]:
    own = [(role, None, metric, slice_, value) for role, value in (("base", 0.1), ("champion", 0.2))]
    gained = [
        ("candidate", None, metric, slice_, 0.5),
        ("candidate", "base", metric, slice_, 0.4),
        ("candidate", "champion", metric, slice_, 0.3),
    ]
    return [(*row, row[-1] - 0.05, row[-1] + 0.05, 72, "d1gest") for row in (*own, *gained)]


def test_a_row_for_each_metric_those_of_the_gate_first():
    found = [*rows("exact_match"), *rows("predicted_acceptance_rate"), *rows("exact_match", "language=go")]
    told = side_by_side(pl.DataFrame(found, schema=EVALUATED_SCHEMA, orient="row"))
    assert told["metric"].to_list() == ["predicted_acceptance_rate", "exact_match"]
    assert told.columns == [
        *("metric", "base", "champion", "candidate"),
        *("gain_over_champion", "low", "high", "n_samples"),
    ]
    assert told.row(0)[1:] == (0.1, 0.2, 0.5, 0.3, pytest.approx(0.25), pytest.approx(0.35), 72)


def test_without_a_candidate_nothing_is_gained():
    found = [row for row in rows("chrf") if row[0] != "candidate"]
    told = side_by_side(pl.DataFrame(found, schema=EVALUATED_SCHEMA, orient="row"))
    assert told.row(0) == ("chrf", 0.1, 0.2, None, None, None, None)
