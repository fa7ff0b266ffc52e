"""What a quality filter returns: the value it judges, and whether that value rejects the row.

What does not live here: the filters (`gap_filters.py`, `file_filters.py`, `sample_filters.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl

from echo_dagster.settings import Quality

NO_VALUE = pl.lit(None, pl.Float64)


class Verdict(NamedTuple):
    """The value that decides (`NO_VALUE` where there is none to tell) and whether it rejects; null does not.

    `measured` are columns that both may use, computed once.
    """

    value: pl.Expr
    rejects: pl.Expr
    measured: Mapping[str, pl.Expr] = {}


Filter = Callable[[Quality], Verdict]
