"""Gaps that a tiny candidate is taught by heart, for tests that compare it with the tiny base model."""

import polars as pl

from echo_dagster.refinery.schema import SCORED_SCHEMA

MIDDLES = [
    "total(prices)",
    "sum(price * (1 + tax) for price in prices)",
    "call(\n        line,\n    )",
    "if line:\n        raise ValueError(line)",
]


def held_out(n: int) -> pl.DataFrame:
    rows = [
        {
            "sample_id": f"{index:03}",
            "region_id": f"r{index:03}",
            "user_id": f"u{index % 3}",
            "language": "python",
            "prefix": f"def f{index % 4}(lines):\n    return ",
            "suffix": "\n" if index % 2 else None,
            "middle": MIDDLES[index % 4],
            "is_held_out_user": index % 3 == 0,
        }
        for index in range(n)
    ]
    return pl.DataFrame(rows, schema={**SCORED_SCHEMA, "is_held_out_user": pl.Boolean()})
