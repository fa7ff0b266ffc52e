-- One row per sample that the balance drops, with its reason.
-- `filtered` is the day of filtered_samples, `decisions` the rows of balance.sql.
select
    filtered.sample_id,
    'balance' as stage,
    decisions.reason,
    decisions.value,
    filtered.day as sample_day,
    filtered.language,
    filtered.outcome
from filtered
inner join decisions using (sample_id)
where decisions.reason is not null
order by filtered.sample_id
