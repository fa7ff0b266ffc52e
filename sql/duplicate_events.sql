-- One row per day: how many staged rows are copies of an event that is kept.
select
    day,
    count(*) - count(distinct event_id) as duplicates
from read_parquet($staged)
group by day
