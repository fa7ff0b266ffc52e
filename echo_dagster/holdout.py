"""Who and what is never trained on, and other lots drawn by a seeded hash: the same on every machine.

A name's lot does not depend on what other names there are. Training leaves held-out users and repositories
out, evaluation asks about them; both ask here, and both count here what must not have been trained on.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from hashlib import sha256

import polars as pl

from echo_dagster.settings import Window


def lots(names: pl.Series, seed: int) -> pl.Series:
    """Return a number in [0, 1) for each name, even over names and fixed by the name and the seed alone."""
    drawn = {
        name: int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:6], "big") / 2**48
        for name in names.unique().to_list()
    }
    return pl.Series("lot", [drawn[name] for name in names.to_list()], pl.Float64)


def is_held_out(names: pl.Series, share: float, seed: int) -> pl.Series:
    """Say of each name whether it is held out: about `share` of all names, by name and seed alone; null is not."""
    return ((lots(names, seed) < share) & names.is_not_null()).alias("is_held_out")


def marked(rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return rows (`user_id`, `repository`) with `is_held_out_user` and `is_held_out_repository`."""
    return rows.with_columns(
        is_held_out_user=is_held_out(rows["user_id"], window.held_out_user_share, window.seed),
        is_held_out_repository=is_held_out(rows["repository"], window.held_out_repository_share, window.seed),
    )


def leaks(trained_on: pl.DataFrame, day: date, window: Window) -> dict[str, int]:
    """Count what must not be in the training set of `day` (`user_id`, `repository`, `sample_day`, `closed_at`).

    That is: samples of held-out users, of held-out repositories, and of that day or a later one.
    """
    midnight = datetime.combine(day, time(), UTC)
    rows = marked(trained_on, window)
    return {
        "held_out_user_samples": int(rows["is_held_out_user"].sum()),
        "held_out_repository_samples": int(rows["is_held_out_repository"].sum()),
        "held_out_day_samples": len(
            rows.filter((pl.col("sample_day") >= day) | (pl.col("closed_at") >= midnight))
        ),
    }
