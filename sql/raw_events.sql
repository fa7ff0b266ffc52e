-- One row per event and day: staged rows without copies, those of a stream together. An event is named by its id within its day.
-- Of copies that differ, one that withholds consent is kept before one that gives it; then the first by every column,
-- so that the outcome does not depend on the order in which files are read.
with staged as (
    select * from read_parquet($staged)
),

repeated as (
    select day, event_id
    from staged
    group by day, event_id
    having count(*) > 1
),

copies as (
    select
        staged.*,
        row_number() over (
            partition by day, event_id
            order by
                consent, ts, seq, user_id, session_id, document, repository, language, kind, completion_id, model,
                "offset", length, "text", prefix, suffix, reason, source, cohort
        ) as copy
    from staged
    semi join repeated using (day, event_id)
),

kept as (
    select * from staged
    anti join repeated using (day, event_id)
    union all by name
    select * exclude (copy) from copies
    where copy = 1
)

select * from kept
order by day, user_id, session_id, document, ts, seq, event_id
