"""Who is never trained on, and other lots drawn by a seeded hash: the same on every machine.

A name's lot does not depend on what other names there are. Training leaves held-out users out, evaluation
asks about them; both ask here.
"""

from __future__ import annotations

from hashlib import sha256

import polars as pl


def lots(names: pl.Series, seed: int) -> pl.Series:
    """Return a number in [0, 1) for each name, even over names and fixed by the name and the seed alone."""
    drawn = {
        name: int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:6], "big") / 2**48
        for name in names.unique().to_list()
    }
    return pl.Series("lot", [drawn[name] for name in names.to_list()], pl.Float64)


def is_held_out(user_ids: pl.Series, share: float, seed: int) -> pl.Series:
    """Say of each user whether they are held out: about `share` of all users, by name and seed alone."""
    return (lots(user_ids, seed) < share).alias("is_held_out")
