-- One row per line of a native log that is not blank, in the order of the file: its event, and whether it is one for sure.
-- Every column is read as text, so that a value of the wrong type is seen and not bent into shape. A line that is no JSON
-- object comes as a row of nulls. What is not sure is judged line by line by events.to_row, whose rules these are.
-- Both sides of an `and` are worked out for every row; a `case` stops at the first that holds, and so holds what is costly:
-- a text has at least as many bytes as UTF-16 units, which are counted only where the bytes do not answer.
with lines as (
    select * from read_json(
        $file,
        columns = {
            'event_id': 'varchar', 'ts': 'varchar', 'seq': 'varchar', 'user_id': 'varchar', 'session_id': 'varchar',
            'document': 'varchar', 'repository': 'varchar', 'language': 'varchar', 'kind': 'varchar',
            'completion_id': 'varchar', 'model': 'varchar', 'offset': 'varchar', 'length': 'varchar',
            'text': 'varchar', 'prefix': 'varchar', 'suffix': 'varchar', 'reason': 'varchar', 'latency_ms': 'varchar', 'source': 'varchar',
            'cohort': 'varchar', 'consent': 'varchar'
        },
        format = 'newline_delimited',
        ignore_errors = true,
        maximum_object_size = $longest_line
    )
),

typed as (
    select
        event_id,
        try_cast(ts as timestamptz) as ts,
        coalesce(try_cast(seq as bigint), 0) as seq,
        coalesce(user_id, $user) as user_id,
        session_id,
        document,
        coalesce(repository, $repository) as repository,
        language,
        kind,
        completion_id,
        if(kind = 'shown', coalesce(model, $model), model) as model,
        try_cast("offset" as bigint) as "offset",
        try_cast("length" as bigint) as "length",
        "text",
        prefix,
        suffix,
        reason,
        try_cast(latency_ms as bigint) as latency_ms,
        coalesce(source, $source) as source,
        coalesce(cohort, $cohort) as cohort,
        coalesce(consent = 'true', $consent) as consent,
        ts as written_ts,
        seq as written_seq,
        "offset" as written_offset,
        "length" as written_length,
        latency_ms as written_latency_ms,
        consent as written_consent
    from lines
),

judged as (
    select
        *,
        event_id is not null and session_id is not null and document is not null and user_id is not null and ts is not null
        and case
            when written_ts like '____-__-__T__:__:__%Z' then true
            when written_ts like '____-__-__T__:__:__%+__:__' then true
            else written_ts like '____-__-__T__:__:__%-__:__'
        end
        and not contains(written_ts, ' ')
        and ts >= $first and ts < $last
        and (written_seq is null or written_seq = seq::varchar)
        and written_offset is not distinct from "offset"::varchar
        and written_length is not distinct from "length"::varchar
        and written_latency_ms is not distinct from latency_ms::varchar
        and coalesce("offset", 0) >= 0
        and coalesce("length", 0) >= 0
        and coalesce(latency_ms, 0) >= 0
        and (written_consent is null or written_consent in ('true', 'false'))
        and case kind
            when 'edited' then
                "offset" is not null and "length" is not null and "text" is not null
                and case
                    when reason is null or reason = 'typing' then true
                    else reason in ('accept', 'paste', 'undo', 'redo', 'format', 'auto_import', 'snippet', 'agent', 'other')
                end
            when 'shown' then
                completion_id is not null and "text" is not null and prefix is not null
                and case when "offset" is null or "offset" >= strlen(prefix) then true else "offset" >= utf16_length(prefix) end
                and case when "length" is null or "length" = 0 then true else "length" <= coalesce(utf16_length(suffix), 0) end
            when 'rejected' then
                completion_id is not null
                and (reason is null or reason in ('dismissed', 'timeout', 'superseded'))
            when 'accepted' then completion_id is not null
            when 'cursor' then "offset" is not null
            when 'snapshot' then
                prefix is not null
                and (reason is null or (reason = 'request' and coalesce("offset" >= utf16_length(prefix), true)))
            when 'closed' then true
            else false
        end
        -- An object or a list where text is expected comes as its JSON. Brackets alone are what editors insert most.
        and case when begins_as_json("text") then length("text") <= 2 or not json_valid("text") else true end
        and case when begins_as_json(prefix) then not json_valid(prefix) else true end
        and case when begins_as_json(suffix) then not json_valid(suffix) else true end
        and not begins_as_json(event_id) and not begins_as_json(user_id)
        and not begins_as_json(session_id) and not begins_as_json(document)
        and not begins_as_json(repository) and not begins_as_json(language)
        and not begins_as_json(completion_id) and not begins_as_json(model)
        and not begins_as_json(source) and not begins_as_json(cohort)
        and not begins_as_json(reason) as is_sure
    from typed
)

select
    event_id, ts, seq, user_id, session_id, document, repository, language, kind, completion_id, model, "offset",
    "length", "text", prefix, suffix, reason, latency_ms, source, cohort, consent, coalesce(is_sure, false) as is_sure
from judged
