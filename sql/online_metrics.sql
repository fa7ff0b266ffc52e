-- Grain: one row per day x model x language x cohort in which a gap closed. Rates without a denominator are null.
-- Characters are UTF-16 code units, as in gap_sessions.
with
gaps as (
    select
        day, gap_id, completion_id, region_id, reshown_of, user_id, model, language, cohort, opened_at, outcome,
        accepted_chars, typed_chars, kept_rate,
        retained_0s, retained_30s, retained_120s, retained_300s, retained_600s, retained_900s,
        list_contains($accepted_outcomes, outcome) as is_accepted,
        -- DuckDB counts code points; a character beyond U+FFFF is two units
        length(proposal) + length(regexp_replace(proposal, '[^\x{10000}-\x{10FFFF}]', '', 'g')) as proposed_chars
    from gap_sessions
    where list_contains($days, day)
),

-- A proposal shown again at the next keystroke may have a new id; it goes by that of its first showing.
showings as (
    select
        * replace (
            first_value(completion_id) over (
                partition by day, coalesce(reshown_of, gap_id) order by opened_at, gap_id
            ) as completion_id
        )
    from gaps
),

-- One row per proposal and day: shown again, or accepted word by word, it counts once. The parts taken at its showings
-- add up, but to no more than was proposed: who takes it back and takes it again has not taken it twice.
completions as (
    select
        day,
        first(model order by opened_at, gap_id) as model,
        first(language order by opened_at, gap_id) as language,
        first(cohort order by opened_at, gap_id) as cohort,
        first(user_id order by opened_at, gap_id) as user_id,
        bool_or(is_accepted) as is_accepted,
        bool_and(outcome = 'superseded') as is_superseded,
        bool_or(outcome = 'typed_through') and not bool_or(is_accepted) as is_typed_through,
        max(proposed_chars) as proposed_chars,
        max(kept_rate) filter (where is_accepted) as kept_rate,
        least(sum(if(is_accepted, accepted_chars, 0)), max(proposed_chars)) as accepted_chars,
        -- only where every part taken was still watched; and an editor may insert more than was proposed
        case
            when count(columns('retained_.*')) > 0
                and count(columns('retained_.*')) = count(*) filter (where is_accepted)
                then least(sum(columns('retained_.*')), greatest(max(columns('retained_.*')), max(proposed_chars)))
        end
    from showings
    group by day, completion_id
),

completion_metrics as (
    select
        day,
        model,
        language,
        cohort,
        count(distinct user_id) as n_users,
        count(*) as n_shown,
        count(*) filter (where is_superseded) as n_superseded,
        count(*) filter (where is_accepted) as n_accepted,
        sum(accepted_chars) as accepted_chars,
        sum(proposed_chars) as proposed_chars,
        avg(kept_rate) filter (where is_accepted) as kept_rate,
        count(*) filter (where is_typed_through) as n_typed_through,
        -- of the characters accepted in completions that were still watched at that moment
        sum(retained_0s) / nullif(sum(accepted_chars) filter (where retained_0s is not null), 0) as retained_0s_share,
        sum(retained_30s) / nullif(sum(accepted_chars) filter (where retained_30s is not null), 0) as retained_30s_share,
        sum(retained_120s) / nullif(sum(accepted_chars) filter (where retained_120s is not null), 0) as retained_120s_share,
        sum(retained_300s) / nullif(sum(accepted_chars) filter (where retained_300s is not null), 0) as retained_300s_share,
        sum(retained_600s) / nullif(sum(accepted_chars) filter (where retained_600s is not null), 0) as retained_600s_share,
        sum(retained_900s) / nullif(sum(accepted_chars) filter (where retained_900s is not null), 0) as retained_900s_share
    from completions
    group by day, model, language, cohort
),

-- Nested gaps see the same key strokes: what was typed in a region is what its gap that saw most of it saw.
regions as (
    select
        day,
        first(model order by opened_at, gap_id) as model,
        first(language order by opened_at, gap_id) as language,
        first(cohort order by opened_at, gap_id) as cohort,
        max(typed_chars) as typed_chars
    from gaps
    group by day, coalesce(region_id, gap_id)
),

typing as (
    -- where a tool records no edits, what was typed is unknown, and so is the generation rate
    select day, model, language, cohort, if(count(typed_chars) = count(*), sum(typed_chars), null) as typed_chars
    from regions
    group by day, model, language, cohort
),

measured as (
    select
        completion_metrics.day,
        completion_metrics.model,
        completion_metrics.language,
        completion_metrics.cohort,
        n_users,
        n_shown,
        n_superseded,
        n_accepted,
        n_accepted / n_shown as acceptance_rate,
        accepted_chars / nullif(proposed_chars, 0) as weighted_acceptance_rate,
        accepted_chars / nullif(typed_chars + accepted_chars, 0) as generation_rate,
        kept_rate,
        n_typed_through / n_shown as typed_through_share,
        retained_0s_share,
        retained_30s_share,
        retained_120s_share,
        retained_300s_share,
        retained_600s_share,
        retained_900s_share
    from completion_metrics
    left join typing
        on completion_metrics.day = typing.day
        and completion_metrics.model is not distinct from typing.model
        and completion_metrics.language is not distinct from typing.language
        and completion_metrics.cohort is not distinct from typing.cohort
)

select * from measured
order by day, model nulls first, language nulls first, cohort nulls first
