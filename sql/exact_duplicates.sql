-- One row per candidate sample: whether it repeats an earlier one of its day, and how.
-- `candidates` (sample_id, sample_day, opened_at, content_hash, user_id, session_id, document, region_id, unit_hash)
with

-- Copies in the order in which they were shown; the first one stays.
copies as (
    select
        *,
        row_number() over (partition by sample_day, content_hash order by opened_at, sample_id) as nth_copy
    from candidates
),

-- A proposal shown again at every keystroke is answered by the same code: the first showing has the longest answer.
showings as (
    select
        sample_id,
        row_number() over (
            partition by sample_day, user_id, session_id, document, coalesce(region_id, sample_id), unit_hash
            order by opened_at, sample_id
        ) as nth_showing
    from copies
    where nth_copy = 1
)

select
    copies.sample_id,
    case
        when copies.nth_copy > 1 then 'duplicate'
        when showings.nth_showing > 1 then 'reshown'
    end as reason,
    case
        when copies.nth_copy > 1 then copies.nth_copy
        when showings.nth_showing > 1 then showings.nth_showing
    end::double as value
from copies
left join showings using (sample_id)
