-- One row per gap that closed on one of the given days, in the order in which they opened.
select closed_at::date as day, *
from read_parquet($gaps)
where list_contains($days, closed_at::date)
order by day, opened_at, gap_id
