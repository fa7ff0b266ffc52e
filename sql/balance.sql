-- One row per sample of one day: null where it is kept, else what was too much of it.
-- `samples` (sample_id, user_id, document, stratum)
-- $seed, $temperature, $max_samples, $max_user_share, $max_document_share, $min_stratum
with

-- A lot for each sample, from its id and the seed alone: which samples go does not depend on the order of rows.
-- Samples of the smallest strata go last, so that a cap takes from what there is enough of.
drawn as (
    select
        *,
        case when count(*) over (partition by stratum) <= $min_stratum then 'a' else 'b' end
            || md5($seed::varchar || ':' || sample_id) as lot
    from samples
),

-- A share below that of equal parts could not be met: one user's day is not cut to 30 %, nor two users' to 60 %.
caps as (
    select
        greatest($min_stratum, ceil(count(*) * greatest($max_user_share, 1 / count(distinct user_id)))) as per_user,
        greatest($min_stratum, ceil(count(*) * greatest($max_document_share, 1 / count(distinct document))))
            as per_document
    from samples
),

within_document as (
    select
        *,
        row_number() over (partition by document order by lot, sample_id) as nth_of_document
    from drawn
),

within_user as (
    select
        *,
        row_number() over (partition by user_id order by lot, sample_id) as nth_of_user
    from within_document, caps
    where nth_of_document <= per_document
),

within_stratum as (
    select
        *,
        row_number() over (partition by stratum order by lot, sample_id) as nth_of_stratum
    from within_user
    where nth_of_user <= per_user
),

-- Tempered shares of what the caps left: share ** temperature, made to sum to one, of as many samples as are wanted.
sizes as (
    select
        stratum,
        count(*) as n,
        pow(count(*), $temperature) as weight
    from within_stratum
    group by stratum
),

quotas as (
    select
        stratum,
        greatest(
            $min_stratum,
            ceil(least($max_samples, sum(n) over ()) * weight / sum(weight) over ())
        ) as quota
    from sizes
),

decided as (
    select
        within_document.sample_id,
        within_document.stratum,
        case
            when within_user.sample_id is null then 'over_document_cap'
            when within_stratum.sample_id is null then 'over_user_cap'
            when within_stratum.nth_of_stratum > quotas.quota then 'over_stratum_share'
        end as reason,
        case
            when within_user.sample_id is null then within_document.nth_of_document
            when within_stratum.sample_id is null then within_user.nth_of_user
            when within_stratum.nth_of_stratum > quotas.quota then within_stratum.nth_of_stratum
        end::double as value
    from within_document
    left join within_user using (sample_id)
    left join within_stratum using (sample_id)
    left join quotas on within_stratum.stratum = quotas.stratum
)

select * from decided
