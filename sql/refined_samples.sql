-- One row per sample that the filters keep.
-- `candidates` are the staged samples, `repeats` the rows of exact_duplicates.sql.
select candidates.* exclude (unit_hash, sample_day)
from candidates
inner join repeats using (sample_id)
where repeats.reason is null
