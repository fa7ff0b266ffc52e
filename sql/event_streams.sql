-- One row per event of the given days: the streams one after another, each in the order in which things happened
-- (events.STREAM_ORDER).
with of_window as (
    select * from raw_events
    where day between $first and $last
        and list_contains($days, day)
)

select
    event_id, ts, seq, user_id, session_id, document, repository, language, kind, completion_id, model,
    "offset", "length", "text", prefix, suffix, reason, source, cohort, consent
from of_window
order by user_id, session_id, document, ts, seq, event_id
