-- One row per thing that could not be read, on the day it belongs to: its own, else that of the first event in its
-- file, else the first day of all. Only the requested days.
with dated as (
    select
        coalesce(bad.day, files.first_day) as day,
        bad.source,
        bad.file,
        bad.line,
        bad.reason,
        bad.detail
    from read_parquet($staged) as bad
    left join files using (source, file)
)

select * from dated
where day in (select unnest($days))
order by day, source, file, line, reason, detail
