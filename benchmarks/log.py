"""A landing file for measurements: developers who type beside a completion tool, about thirty edits for a proposal.

Keystrokes are like those of the recorded sessions the importers are tested on: four of five insert a character, the
rest delete one, close a bracket, break a line or paste a word; now and then the user pauses, goes elsewhere, takes the
proposal or types it out. A file holds some thousands of characters, as source files do. Made for volume, not for
meaning: what is written is no program.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

EDITS_PER_PROPOSAL = 30

_WORDS = (
    *("self", "value", "result", "for", "in", "return", "index", "data", "path", "name", "line"),
    *("count", "offset", "None", "True", "range", "items", "key"),
)
_SIGNS = (" ", " ", " = ", "(", ")", ".", ", ", "\n", "\n    ", ":")


def write_log(file: Path, n_events: int, day: date, seed: int = 17) -> None:
    """Write an experience log of `n_events` lines, all of them on `day`."""
    choose = random.Random(f"{seed}{day}")
    written = stream = 0
    with file.open("w", encoding="utf-8") as out:
        while written < n_events:
            stream += 1
            wanted = min(choose.randrange(200, 3000), n_events - written)
            _write_stream(out.write, stream, wanted, day, choose)
            written += wanted


def _write_stream(
    write: Callable[[str], Any], stream: int, n_events: int, day: date, choose: random.Random
) -> None:
    random_ = choose.random
    ts = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(
        seconds=choose.randrange(8 * 3600, 20 * 3600)
    )
    identity = (
        f'"user_id":"user-{stream % 97}","session_id":"{stream:032x}","document":"src/package/module_{stream}.py",'
        '"repository":"service","language":"python","model":"tool-1","consent":true'
    )
    text = "".join(_line(choose) for _ in range(choose.randrange(10, 160)))
    at = choose.randrange(len(text) + 1)
    ahead = ""  # what the user means to type next
    proposal = name = ""
    since_shown = EDITS_PER_PROPOSAL
    for seq in range(n_events):
        ts += timedelta(
            milliseconds=choose.randrange(60, 700) if random_() < 0.95 else choose.randrange(1_000, 60_000)
        )
        begin = f'{{"event_id":"{stream:x}-{seq:x}","ts":"{ts:%Y-%m-%dT%H:%M:%S.%f}Z","seq":{seq},{identity},'
        chance = random_()
        if since_shown >= EDITS_PER_PROPOSAL:
            since_shown = choose.randrange(0, 6)
            name = f"{stream:x}-{seq:x}"
            ahead = ahead or _line(choose)
            proposal = ahead if chance < 0.4 else _line(choose)
            shown = {"text": proposal, "prefix": text[:at], "suffix": text[at:]}
            write(
                f'{begin}"kind":"shown","completion_id":"{name}","offset":{at},"length":0,{json.dumps(shown)[1:]}\n'
            )
            continue
        since_shown += 1
        if proposal and since_shown < 8 and chance < 0.04 and seq + 1 < n_events:
            edit = (at, 0, proposal, "accept")
            proposal = ""
        elif chance < 0.03:
            at = choose.randrange(len(text) + 1)
            ahead = _line(choose)
            edit = (at, 0, ahead[0], "typing")
            ahead = ahead[1:]
        elif chance < 0.13 and at:
            edit = (at - 1, 1, "", "typing")
        elif chance < 0.15:
            edit = (at, 0, choose.choice(_WORDS), "paste")
        else:
            ahead = ahead or _line(choose)
            edit = (at, 0, ahead[0], "typing")
            ahead = ahead[1:]
        offset, length, inserted, reason = edit
        text = text[:offset] + inserted + text[offset + length :]
        at = offset + len(inserted)
        write(
            f'{begin}"kind":"edited","offset":{offset},"length":{length},"text":{json.dumps(inserted)},"reason":"{reason}"}}\n'
        )


def _line(choose: random.Random) -> str:
    return "".join(choose.choice(_WORDS) + choose.choice(_SIGNS) for _ in range(choose.randrange(2, 8)))
