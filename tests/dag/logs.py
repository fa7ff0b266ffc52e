"""Landing logs for tests of the DAG: several users who write small functions beside a tool, edit by edit."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

_NAMES = ("total", "price", "weight", "level", "ratio", "offset", "budget", "score", "depth", "margin")
_VERBS = ("load", "merge", "rank", "scale", "trim", "split", "fold", "count")


class _Stream:
    """One user's document: keeps its text, so that every offset is right."""

    def __init__(self, day: date, user: int, file: int) -> None:
        self.ts = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) + timedelta(
            minutes=3 * user, hours=2 * file
        )
        self.base = {
            "user_id": f"user-{user}",
            "session_id": f"{day}-{user}-{file}",
            "document": f"src/part_{day:%m%d}_{user}_{file}.py",
            "language": "python",
            "model": "tool-1",
            "consent": True,
        }
        self.text = ""
        self.events: list[dict] = []

    def tell(self, kind: str, after_s: float = 1.0, **columns: object) -> None:
        self.ts += timedelta(seconds=after_s)
        number = len(self.events)
        self.events.append(
            {
                "event_id": f"{self.base['document']}:{number}",
                "ts": self.ts.isoformat().replace("+00:00", "Z"),
                "seq": number,
                **self.base,
                "kind": kind,
                **columns,
            }
        )

    def edit(
        self, offset: int, inserted: str, removed: int = 0, reason: str = "typing", after_s: float = 1.0
    ) -> None:
        self.text = self.text[:offset] + inserted + self.text[offset + removed :]
        self.tell("edited", after_s, offset=offset, length=removed, text=inserted, reason=reason)

    def show(self, completion: str, proposal: str) -> None:
        end = len(self.text)
        self.tell(
            "shown",
            0.4,
            completion_id=completion,
            offset=end,
            length=0,
            text=proposal,
            prefix=self.text,
            suffix="",
        )


def write_day(landing: Path, day: date, *, users: int = 4, gaps: int = 8) -> int:
    """Write `<day>.ndjson` and return the number of proposals shown. The same day gives the same bytes."""
    lines: list[str] = []
    shown = 0
    for user in range(users):
        choose = random.Random(f"{day}:{user}")
        stream = _Stream(day, user, 0)
        stream.tell("snapshot", prefix="", suffix="")
        for number in range(gaps):
            verb, name, other = choose.choice(_VERBS), choose.choice(_NAMES), choose.choice(_NAMES)
            factor = choose.randrange(2, 900)
            stream.edit(
                len(stream.text), f"def {verb}_{number}_{factor}({name}, {other}_by):\n    {other} = "
            )
            truth = f"{name} * {factor} + {other}_by"
            wrong = f"{name} + {factor}"
            completion = f"{day}-{user}-{number}"
            accepts = choose.random() < 0.4
            stream.show(completion, truth if accepts else wrong)
            shown += 1
            if accepts:
                stream.tell("accepted", 1.5, completion_id=completion)
                stream.edit(len(stream.text), truth, reason="accept", after_s=0)
            else:
                stream.tell("rejected", 1.5, completion_id=completion, reason="dismissed")
                for at in range(0, len(truth), 6):
                    stream.edit(len(stream.text), truth[at : at + 6])
            stream.edit(len(stream.text), f"\n    return {other}\n\n\n")
            stream.edit(
                0, f"import part_{factor}_{number}\n", after_s=4
            )  # on to other code: this ends the gap
        stream.tell("closed")
        lines += [json.dumps(event) for event in stream.events]
    (landing / f"{day}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return shown
