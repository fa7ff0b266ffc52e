-- Grain: one row per completion that a user decided on, at most $max_decisions of them; and one row for each other
-- verdict, which stands for all `n_verdict` completions of it.
with
gaps as (
    select
        gap_id, completion_id, user_id, language, closed_at, consent, censored, outcome, proposal, final,
        list_contains($accepted_outcomes, outcome) as is_accepted,
        coalesce(retained_300s, kept_rate * accepted_chars) as retained_chars
    from gap_sessions
    where day between $first_day and $last_day
),

-- A proposal shown again is one decision: accepted if it ever was; otherwise as it last stood.
completions as (
    select
        completion_id,
        arg_max(
            {
                'user_id': user_id, 'language': language, 'proposal': proposal, 'final': final, 'censored': censored,
                'retained_chars': retained_chars
            },
            row(is_accepted, closed_at, gap_id)
        ) as gap,
        bool_or(is_accepted) as is_accepted,
        bool_and(outcome = 'superseded') as is_superseded,
        bool_and(coalesce(consent, false)) as is_consented
    from gaps
    group by completion_id
),

-- Later cases are read only where the earlier ones do not hold.
judged as (
    select
        completion_id,
        gap.user_id as user_id,
        gap.language as language,
        gap.proposal as proposal,
        gap.final as final,
        is_accepted,
        case when is_accepted then gap.retained_chars end as retained_chars,
        case
            when not is_consented then 'no_consent'
            when is_superseded then 'superseded'
            when gap.censored then 'censored'  -- the end was not seen: C_N is a guess, and a guess proves nothing
            when trim(coalesce(gap.proposal, ''), e' \t\r\n') = '' then 'blank_proposal'
            when trim(coalesce(gap.final, ''), e' \t\r\n') = '' then 'blank_final'
            else 'decided'
        end as verdict
    from completions
),

counted as (
    select
        *,
        count(*) over (partition by verdict) as n_verdict,
        row_number() over (partition by verdict order by md5($seed || completion_id), completion_id) as place
    from judged
)

select verdict, n_verdict, completion_id, user_id, language, proposal, final, is_accepted,
    retained_chars
from counted
where place <= case verdict when 'decided' then $max_decisions else 1 end
order by verdict, completion_id
