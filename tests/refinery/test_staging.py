"""Days larger than memory, staged and written."""

from datetime import date

import polars as pl

from echo_dagster.lake import Lake
from echo_dagster.refinery.staging import stage

DAY = date(2026, 1, 5)


def test_a_day_larger_than_the_memory_allowed_is_written_whole(tmp_path):
    lake = Lake(tmp_path / "lake")
    n, size = 100_000, 4_000  # 400 MB of text
    with stage(lake.root, "250MB") as staged:
        for start in range(0, n, 5_000):
            numbers = pl.int_range(start, start + 5_000, eager=True)
            place = numbers.alias("place")
            text = place.cast(pl.String).str.pad_start(size, "x").alias("text")
            staged.add("samples", pl.DataFrame([place, text]))
        staged.connection.execute("set threads = 4")
        staged.open("samples")
        staged.write("from samples", lake, "samples", DAY)
    written = lake.read("samples", [DAY]).select(
        "place", end=pl.col("text").str.tail(6).str.strip_chars_start("x")
    )
    found = written.collect().sort("place")
    assert found["place"].to_list() == list(range(n))
    assert found["end"].cast(pl.Int64).equals(found["place"].rename("end"))
