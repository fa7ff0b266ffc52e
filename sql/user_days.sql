-- One row per user and day: how the user worked with new proposals; null what too few of them tell.
-- `acts` (sample_day, user_id, sample_id, is_new, opened_at, seconds, typed_chars, is_untouched), $min_proposals
with

proposals as (
    select
        sample_day,
        user_id,
        epoch_us(opened_at) as shown_us,
        epoch_us(opened_at) - lag(epoch_us(opened_at)) over shown as pause_us,
        is_untouched::double as untouched,
        -- A few characters are inserted at once by any editor: a bracket and its partner.
        case when typed_chars >= 20 then typed_chars / greatest(seconds, 0.001) end as chars_per_second
    from acts
    where is_new
    window shown as (partition by sample_day, user_id order by opened_at, sample_id)
),

-- The pauses' quartiles, not their deviation: one lunch would hide the steadiest clock. A log that counts whole
-- seconds does not tell pauses apart that differ by less.
measured as (
    select
        sample_day,
        user_id,
        count(*) as n_proposals,
        count(pause_us) as n_pauses,
        quantile_cont(pause_us, 0.25) as short_us,
        quantile_cont(pause_us, 0.75) as long_us,
        if(bool_and(shown_us % 1000000 = 0), 1000000, 1) as tick_us,
        count(untouched) as n_followed,
        avg(untouched) as untouched_share,
        count(chars_per_second) as n_typed,
        median(chars_per_second) as chars_per_second
    from proposals
    group by sample_day, user_id
)

select
    sample_day,
    user_id,
    if(n_proposals >= $min_proposals, n_proposals, null) as user_proposals,
    if(n_pauses >= $min_proposals, (long_us - short_us + tick_us) / (long_us + short_us + tick_us), null)
        as pause_dispersion,
    if(n_followed >= $min_proposals, untouched_share, null) as untouched_share,
    if(n_typed >= $min_proposals, chars_per_second, null) as chars_per_second
from measured
order by sample_day, user_id
