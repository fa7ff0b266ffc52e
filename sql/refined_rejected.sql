-- One row per gap that the filters drop, with its reason: those staged as `rejected`, and the `candidates` that
-- `repeats` (exact_duplicates.sql) names.
with

repeated as (
    select
        candidates.sample_id,
        'filter' as stage,
        repeats.reason,
        repeats.value,
        candidates.sample_day,
        candidates.language,
        candidates.outcome
    from candidates
    inner join repeats using (sample_id)
    where repeats.reason is not null
),

dropped as (
    select * from rejected
    union all by name
    select * from repeated
)

select * from dropped
