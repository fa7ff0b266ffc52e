"""Echo for Dagster: a better completion model from the completion logs a team already has."""

import os

__version__ = "0.1.0"

# Polars gives memory back half a second after it was last used, and asks for it again with the next batch: a tenth of
# the time of reading a log. It looks here once, when it is imported, which no module of this package has done yet.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")
