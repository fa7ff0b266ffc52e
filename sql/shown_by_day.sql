-- One row per given day that has events: how many there are, and how many of them show a proposal.
select
    day,
    count(*) as events,
    count(*) filter (kind = 'shown') as shown
from raw_events
where day between $first and $last
    and list_contains($days, day)
group by day
order by day
