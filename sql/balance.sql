-- One row per sample of one day: null where it is kept, else what was too much of it.
-- `samples` (sample_id, user_id, document, repository, stratum). An unknown repository (null) is none, and is not capped.
-- $seed, $temperature, $max_samples, $max_document_share, $max_user_share, $max_repository_share, $min_cap, $min_stratum
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

wanted as (
    select least(count(*), $max_samples) as n from samples
),

-- A share below that of equal parts could not be met: one user's day is not cut to 30 %, nor two users' to 60 %.
-- Few samples drown nothing, and to drop them makes the others no more: hence $min_cap.
caps as (
    select
        greatest($min_cap, ceil(any_value(wanted.n) * greatest($max_document_share, 1 / count(distinct document))))
            as per_document,
        greatest($min_cap, ceil(any_value(wanted.n) * greatest($max_user_share, 1 / count(distinct user_id))))
            as per_user,
        greatest(
            $min_cap,
            ceil(any_value(wanted.n) * greatest($max_repository_share, 1 / nullif(count(distinct repository), 0)))
        ) as per_repository
    from samples, wanted
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

within_repository as (
    select
        *,
        row_number() over (partition by repository order by lot, sample_id) as nth_of_repository
    from within_user
    where nth_of_user <= per_user
),

within_stratum as (
    select
        *,
        row_number() over (partition by stratum order by lot, sample_id) as nth_of_stratum
    from within_repository
    where repository is null or nth_of_repository <= per_repository
),

-- Tempered shares of what the caps left: a stratum of n samples weighs n ** temperature.
weights as (
    select
        stratum,
        count(*) as n,
        pow(count(*), $temperature) as weight
    from within_stratum
    group by stratum
),

totals as (
    select
        sum(n) as n,
        sum(weight order by stratum) as weight
    from weights
),

-- The nth sample of a stratum stands at the level (nth - 1/2) / weight. Whoever takes all samples up to one level takes from
-- each stratum its share by weight, to the nearest sample (the divisor method of Webster and Sainte-Laguë), and
-- where a stratum ends, the others go on: no room is left empty under $max_samples.
levelled as (
    select
        *,
        (nth_of_stratum - 0.5) / weights.weight as level,
        nth_of_stratum <= $min_stratum as is_protected
    from within_stratum
    inner join weights using (stratum)
),

placed as (
    select
        levelled.sample_id,
        levelled.nth_of_stratum,
        levelled.is_protected or level * totals.weight <= totals.n as is_within_share,
        is_protected,
        row_number() over (order by levelled.is_protected desc, level, lot, sample_id) as place
    from levelled, totals
),

decided as (
    select
        within_document.sample_id,
        within_document.stratum,
        case
            when within_user.sample_id is null then 'over_document_cap'
            when within_repository.sample_id is null then 'over_user_cap'
            when placed.sample_id is null then 'over_repository_cap'
            when not placed.is_within_share then 'over_stratum_share'
            when placed.place > $max_samples and not placed.is_protected then 'over_max_samples'
        end as reason,
        case reason
            when 'over_document_cap' then within_document.nth_of_document
            when 'over_user_cap' then within_user.nth_of_user
            when 'over_repository_cap' then within_repository.nth_of_repository
            when 'over_stratum_share' then placed.nth_of_stratum
            when 'over_max_samples' then placed.place
        end::double as value
    from within_document
    left join within_user using (sample_id)
    left join within_repository using (sample_id)
    left join placed using (sample_id)
)

select * from decided
