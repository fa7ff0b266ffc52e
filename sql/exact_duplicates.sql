-- One row per candidate sample: whether it repeats another one of its day, and how.
-- `candidates` (sample_id, sample_day, opened_at, outcome, content_hash, user_id, session_id, document, region_id,
-- unit_hash)
with

-- One proposal shown again at every keystroke is answered by the same code. The showing on which the user decided
-- stays, else the first, which has the longest answer.
showings as (
    select
        *,
        row_number() over one_answer as nth_showing,
        first_value(content_hash) over one_answer as shown_hash
    from candidates
    window one_answer as (
        partition by sample_day, user_id, session_id, document, coalesce(region_id, sample_id), unit_hash
        order by
            case
                when outcome in ('accepted', 'accepted_then_edited', 'accepted_then_removed', 'partially_accepted')
                    then 0
                when outcome = 'superseded' then 2
                else 1
            end,
            opened_at,
            sample_id
    )
),

-- Of copies elsewhere, the one shown first stays.
copies as (
    select
        sample_id,
        row_number() over (partition by sample_day, content_hash order by opened_at, sample_id) as nth_copy
    from showings
    where nth_showing = 1
)

select
    showings.sample_id,
    case
        when copies.nth_copy > 1 then 'duplicate'
        when showings.nth_showing > 1 and showings.content_hash = showings.shown_hash then 'duplicate'
        when showings.nth_showing > 1 then 'reshown'
    end as reason,
    case
        when copies.nth_copy > 1 then copies.nth_copy
        when showings.nth_showing > 1 then showings.nth_showing
    end::double as value
from showings
left join copies using (sample_id)
