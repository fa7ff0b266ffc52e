-- One row per gap whose C_N brings its document back to how an earlier proposal of the day found it.
-- `acts` (sample_day, user_id, session_id, document, sample_id, opened_at, window_start, found, left_behind): two hashes
-- of the document, as the proposal found it and as C_N left it; null where the log does not show enough of it.
with

-- Grouped before the join, so that a document found a thousand times in one state costs no thousand pairs.
states as (
    select sample_day, user_id, session_id, document, window_start, found as state, min(opened_at) as first_at
    from acts
    where found is not null
    group by all
)

select
    acts.sample_id,
    (epoch_us(acts.opened_at) - epoch_us(states.first_at)) / 1e6 as reversed_after_s
from acts
inner join states
    on acts.sample_day = states.sample_day
    and acts.user_id = states.user_id
    and acts.session_id = states.session_id
    and acts.document = states.document
    and acts.window_start = states.window_start
    and acts.left_behind = states.state
where acts.left_behind <> acts.found
    and states.first_at < acts.opened_at
order by acts.sample_id
