-- One row: how many gaps a day must hold, and how many of them it holds exactly once.
-- A proposal shown so early that its gap cannot outlive the day must have closed on it ($last_start: the first moment
-- that is too late for that). Every other gap of the day must come from one proposal of the day or the day before.
with shown as (
    select user_id, session_id, document, completion_id, ts as opened_at, count(*) as n
    from raw_events
    where day between $day_before and $day
        and kind = 'shown'
    group by all
),

gaps as (
    select user_id, session_id, document, completion_id, opened_at, count(*) as n
    from gap_sessions
    where day = $day
    group by all
),

pairs as (
    select
        opened_at::date = $day and opened_at < $last_start as is_owed,
        coalesce(shown.n, 0) as n_shown,
        coalesce(gaps.n, 0) as n_gaps
    from shown
    full join gaps using (user_id, session_id, document, completion_id, opened_at)
)

select
    coalesce(sum(case when is_owed then n_shown else n_gaps end), 0)::bigint as expected,
    coalesce(sum(case when is_owed then if(n_gaps = n_shown, n_gaps, 0) else if(n_gaps <= n_shown, n_gaps, 0) end), 0)::bigint
        as found
from pairs
