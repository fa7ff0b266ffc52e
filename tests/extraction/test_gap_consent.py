"""Whose code a gap holds decides over it: consent is that of every event that C_N may come from."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from echo_dagster import events as log
from echo_dagster.extraction import gaps
from echo_dagster.extraction.policies import PRESETS

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def stream(document: str, *, at: datetime = NOON, withheld: tuple[int, ...] = ()) -> list[dict]:
    """A proposal that the user types over: events 0 to 4, of which some withhold consent."""
    told = [
        {"kind": "shown", "completion_id": "c", "text": "xyz", "prefix": "", "suffix": "", "offset": 0},
        *({"kind": "edited", "offset": n, "length": 0, "text": "a", "reason": "typing"} for n in range(3)),
        {"kind": "closed"},
    ]
    return [
        dict.fromkeys(log.SCHEMA)
        | {
            "event_id": f"{document}-{number}",
            "ts": at + timedelta(seconds=20 * number),
            "seq": number,
            "user_id": "u",
            "session_id": "s",
            "document": document,
            "consent": number not in withheld,
        }
        | event
        for number, event in enumerate(told)
    ]


def consent(*streams: list[dict]) -> dict[str, bool]:
    frame = pl.DataFrame([event for one in streams for event in one], schema=log.SCHEMA)
    found = gaps.extract_frame(frame, PRESETS["echo"])
    assert found["final"].to_list() == ["aaa"] * len(streams)
    return dict(found.select("document", "consent").iter_rows())


def test_it_is_that_of_the_proposal():
    assert consent(stream("a"), stream("b", withheld=(0, 1, 2, 3, 4))) == {"a": True, "b": False}


@pytest.mark.parametrize("number", range(5))
def test_one_event_that_withholds_it_is_enough_and_only_for_its_own_stream(number):
    assert consent(stream("a"), stream("b", withheld=(number,))) == {"a": True, "b": False}


@pytest.mark.parametrize("number", [0, 3])
def test_on_either_side_of_midnight(number):
    late = NOON.replace(hour=23, minute=59, second=30)  # the third edit comes on the next day
    assert consent(stream("a", at=late, withheld=(number,))) == {"a": False}


def test_what_another_day_withholds_says_nothing():
    days = (stream("a", at=NOON - timedelta(days=1), withheld=(2,)), stream("a"))
    two = [event | {"event_id": f"{event['ts']}"} for one in days for event in one]
    found = gaps.extract_frame(pl.DataFrame(two, schema=log.SCHEMA), PRESETS["echo"])
    assert found["consent"].to_list() == [False, True]
