-- One row per line of a Code4Me dump that tells of something: a proposal, what stood in its place later (truth), or a request
-- that no proposal answers. With its request, context and the rest; in the order of the lines. Of rows with the same key the
-- first counts. Answers of the chat are left out.
with queries as (
    select * from read_parquet($query)
    qualify row_number() over (partition by query_id order by line) = 1
),

contexts as (
    select context_id, prefix, suffix, file_name, language_id as context_language_id
    from read_parquet($context)
    qualify row_number() over (partition by context_id order by line) = 1
),

telemetries as (
    select * exclude (line) from read_parquet($telemetry)
    qualify row_number() over (partition by telemetry_id order by line) = 1
),

models as (
    select * exclude (line) from read_parquet($model)
    qualify row_number() over (partition by model_id order by line) = 1
),

languages as (
    select * exclude (line) from read_parquet($language)
    qualify row_number() over (partition by language_id order by line) = 1
),

generations as (
    select * from read_parquet($generation)
),

taken as (
    select query_id, completion as accepted_completion
    from generations
    where was_accepted = 't'
    qualify row_number() over (partition by query_id order by line) = 1
),

facts as (
    select line, 'proposal' as fact, query_id, model_id, completion as "text", shown_at as "at", was_accepted
    from generations
    union all by name
    select line, 'truth' as fact, query_id, ground_truth as "text", truth_timestamp as "at"
    from read_parquet($truth)
    union all by name
    select line, 'request' as fact, query_id, asked_at as "at"
    from queries
    anti join generations using (query_id)
)

select
    facts.*, queries.query_id is not null as has_query, contexts.context_id is not null as has_context,
    user_id, session_id, asked_at, serving_ms, contexts.context_id, prefix, suffix, file_name, file_path, language_name, model_name,
    document_char_length, relative_document_position, accepted_completion
from facts
left join queries using (query_id)
left join contexts on queries.context_id = contexts.context_id
left join telemetries using (telemetry_id)
left join models using (model_id)
left join languages on languages.language_id = coalesce(telemetries.language_id, context_language_id)
left join taken using (query_id)
where query_type is distinct from 'chat'
order by facts.line
