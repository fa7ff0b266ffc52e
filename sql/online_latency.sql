-- Grain: one row per model x language x cohort, per model x cohort, per model, per cohort, and one for all: how long users
-- waited for a proposal, where the tool says. The bits of grain say which of the three are left out.
select
    grouping(model, language, cohort) as grain,
    model,
    language,
    cohort,
    quantile_cont(latency_ms, 0.5) as latency_p50_ms,
    quantile_cont(latency_ms, 0.95) as latency_p95_ms
from completions
where latency_ms is not null
group by grouping sets ((model, language, cohort), (model, cohort), (model), (cohort), ())
