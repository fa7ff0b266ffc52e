-- One row per sample that the balance keeps, with its stratum, in the order in which the proposals were shown.
-- `filtered` is the day of filtered_samples, `decisions` the rows of balance.sql.
select
    filtered.* exclude (day),
    decisions.stratum
from filtered
inner join decisions using (sample_id)
where decisions.reason is null
order by filtered.opened_at, filtered.sample_id
