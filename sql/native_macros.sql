-- Whether a value begins as a JSON object or list does; null does not.
create or replace temp macro begins_as_json(x) as
    case when x is null or x < '[' then false when x < '\' then true when x < '{' then false else x < '|' end;

-- The length of a text in UTF-16 units: its characters, and one more for each astral one.
create or replace temp macro utf16_length(x) as
    if(
        strlen(x) = length(x),
        length(x),
        2 * length(x) - length(regexp_replace(x, '[\x{10000}-\x{10FFFF}]', '', 'g'))
    );
