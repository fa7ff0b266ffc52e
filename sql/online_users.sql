-- Grain: one row per user x model x language x cohort: sums, which add up over users, languages, cohorts and days.
with
shown as (
    select
        user_id,
        model,
        language,
        cohort,
        count(*) as n_shown,
        count(*) filter (where is_superseded) as n_superseded,
        count(*) filter (where is_dismissed) as n_dismissed,
        count(*) filter (where is_accepted) as n_accepted,
        count(*) filter (where is_typed_through) as n_typed_through,
        sum(proposed_chars) as proposed_chars,
        sum(accepted_chars) as accepted_chars,
        sum(accepted_chars) filter (where is_typing_known) as tracked_chars,
        count(kept_rate) as n_kept,
        sum(kept_rate) as kept_rates,
        -- what is left, and of how much: of the completions that were still watched at that moment
        sum(columns('(retained_.*)')) as '\1_chars',
        sum(accepted_chars) filter (where retained_0s is not null) as watched_0s_chars,
        sum(accepted_chars) filter (where retained_30s is not null) as watched_30s_chars,
        sum(accepted_chars) filter (where retained_120s is not null) as watched_120s_chars,
        sum(accepted_chars) filter (where retained_300s is not null) as watched_300s_chars,
        sum(accepted_chars) filter (where retained_600s is not null) as watched_600s_chars,
        sum(accepted_chars) filter (where retained_900s is not null) as watched_900s_chars
    from completions
    group by user_id, model, language, cohort
),

-- Nested gaps see the same key strokes: what was typed in a region is what its gap that saw most of it saw. Where a tool
-- records no edits, what was typed is unknown; what was accepted there is not in tracked_chars.
regions as (
    select
        user_id,
        arg_min({'model': model, 'language': language, 'cohort': cohort}, {'at': opened_at, 'id': gap_id}) as first_gap,
        if(count(typed_chars) = count(*), max(typed_chars), 0) as typed_chars
    from gap_sessions
    where day = $day
    group by user_id, coalesce(region_id, gap_id)
),

typing as (
    select
        user_id,
        first_gap.model as model,
        first_gap.language as language,
        first_gap.cohort as cohort,
        sum(typed_chars) as typed_chars
    from regions
    group by all
)

select user_id, model, language, cohort, coalesce(sum(columns(* exclude (user_id, model, language, cohort))), 0)
from (select * from shown union all by name select * from typing)
group by user_id, model, language, cohort
