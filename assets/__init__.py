"""The DAG: thin Dagster assets, one file per stage, in the order in which data flows.

An asset here resolves its days, calls one library function, and reports what it did. How anything is computed
stands in `echo_dagster/`; what all assets share stands in `assets/conventions.py`.
"""
