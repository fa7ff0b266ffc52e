"""Echo for Dagster: a better completion model from the completion logs a team already has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from echo_dagster.reading import OpenLake

__all__ = ["__version__", "open_lake"]

__version__ = "0.1.0"

# Polars gives memory back half a second after it was last used, and asks for it again with the next batch: a tenth of
# the time of reading a log. It looks here once, when it is imported, which no module of this package has done yet.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")


def open_lake(path: Path | str) -> OpenLake:
    """Return the tables below `path` for reading: the `data_dir` of a configuration, or its folder of tables.

    Raises:
        FileNotFoundError: there are no tables.
    """
    from echo_dagster.reading import OpenLake  # only now: importing this package stays quick

    return OpenLake(path)
