"""The DAG: thin Dagster assets, one file per stage, in the order in which data flows.

An asset here resolves its days, calls one library function, and reports what it did. How anything is computed
stands in `echo_dagster/`; what all assets share stands in `assets/conventions.py`.
"""

import warnings

import dagster as dg

# Backfill policies and partition mappings are years old and still marked beta; a warning for each asset at each load
# of the code location would bury the ones that matter. To go when Dagster marks them stable.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
# Dagster 1.13.27 warns of a function that it calls itself, whenever a training begins.
warnings.filterwarnings("ignore", message="Function `PipesMessageReader.expected_writer_count`")

# The `daily` job takes one day a run, as its model assets do; ranges are backfilled by asset.
warnings.filterwarnings("ignore", message="Asset job daily materializes assets with varying BackfillPolicies")
