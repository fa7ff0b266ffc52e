-- One row per given day and bucket that has events: how many there are, and how many of them show a proposal.
select
    day,
    bucket,
    count(*) as events,
    count(*) filter (kind = 'shown') as shown
from raw_events
where day between $first and $last
    and list_contains($days, day)
group by day, bucket
order by day, bucket
