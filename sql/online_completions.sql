-- Grain: one row per user and proposal shown in a gap that closed on one day. Shown again, or accepted word by
-- word, a proposal counts once. Characters are UTF-16 code units, as in gap_sessions.
with
gaps as (
    select
        gap_id, completion_id, reshown_of, user_id, model, language, cohort, opened_at, outcome, latency_ms,
        accepted_chars, kept_rate,
        retained_0s, retained_30s, retained_120s, retained_300s, retained_600s, retained_900s,
        typed_chars is not null as is_typing_known,
        list_contains($accepted_outcomes, outcome) as is_accepted,
        utf16_length(proposal) as proposed_chars
    from gap_sessions
    where day = $day
),

-- A proposal shown again at the next keystroke may have a new id; it goes by that of its first showing.
showings as (
    select
        * replace (
            first_value(completion_id) over (
                partition by user_id, coalesce(reshown_of, gap_id) order by opened_at, gap_id
            ) as completion_id
        )
    from gaps
),

ordered as (
    select *, row_number() over (partition by user_id, completion_id order by opened_at, gap_id) = 1 as is_first
    from showings
),

-- The parts taken at its showings add up, but to no more than was proposed: who takes it back and takes it again has not
-- taken it twice.
completions as (
    select
        user_id,
        max(model) filter (where is_first) as model,
        max(language) filter (where is_first) as language,
        max(cohort) filter (where is_first) as cohort,
        max(latency_ms) filter (where is_first) as latency_ms,
        bool_or(is_accepted) as is_accepted,
        bool_or(outcome = 'rejected') as is_dismissed,
        bool_and(outcome = 'superseded') as is_superseded,
        bool_or(outcome = 'typed_through') and not bool_or(is_accepted) as is_typed_through,
        bool_and(is_typing_known) as is_typing_known,
        max(proposed_chars) as proposed_chars,
        max(kept_rate) filter (where is_accepted) as kept_rate,
        least(sum(if(is_accepted, accepted_chars, 0)), max(proposed_chars)) as accepted_chars,
        -- only where every part taken was still watched; and an editor may insert more than was proposed
        case
            when count(columns('retained_.*')) > 0
                and count(columns('retained_.*')) = count(*) filter (where is_accepted)
                then least(sum(columns('retained_.*')), greatest(max(columns('retained_.*')), max(proposed_chars)))
        end
    from ordered
    group by user_id, completion_id
)

select * from completions
