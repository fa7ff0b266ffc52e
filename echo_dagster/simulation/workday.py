"""The simulation as a whole: who writes which files on which day, all sessions beside one model, and the
landing files.

Files of `source` are dealt out so that no file is written twice, by whomever and on whichever day: what is
asked on a later day was never seen on an earlier one, as in held-out evaluation.

What does not live here: one session (`session.py`), the landing files' form (`landing.py`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from echo_dagster.simulation import code, landing
from echo_dagster.simulation.agent import Agent, Request
from echo_dagster.simulation.code import CodeFile, SimulationError
from echo_dagster.simulation.developer import BEHAVIOURS, Developer, developer
from echo_dagster.simulation.editor import Editor
from echo_dagster.simulation.session import Session

Progress = Callable[[int, int], None]

#: One of so many developers has not agreed to training.
_WITHOUT_CONSENT = 6


@dataclass(frozen=True)
class Simulated:
    """What a simulation made. `behaviours` counts what developers did, by `developer.BEHAVIOURS`."""

    files: tuple[Path, ...]
    n_lines: int
    n_events: int
    n_duplicates: int
    n_malformed: int
    n_late: int
    n_documents: int
    n_shown: int
    behaviours: dict[str, int]

    def counts(self) -> dict[str, Any]:
        """Return the counts as a flat table of plain values."""
        return {
            "files": ", ".join(file.name for file in self.files),
            "lines": self.n_lines,
            "events": self.n_events,
            "duplicate lines": self.n_duplicates,
            "malformed lines": self.n_malformed,
            "late lines": self.n_late,
            "documents": self.n_documents,
            "proposals shown": self.n_shown,
            **{f"behaviour: {name}": count for name, count in self.behaviours.items()},
        }


def simulate(
    source: Path,
    days: int,
    start: date,
    out: Path,
    *,
    users: int,
    gaps_per_user_day: int,
    seed: int,
    agent: Agent,
    progress: Progress | None = None,
) -> Simulated:
    """Write the logs of `users` developers over `days` days from `start` into `out/YYYY-MM-DD.ndjson`.

    `source` is a directory of real Python code. Each developer stops `gaps_per_user_day` times a day to see a
    proposal. Given the same arguments and the same proposals, the files have the same bytes.

    Raises:
        SimulationError: `source` holds too little code.
    """
    sessions = plan(
        source, days, start, users=users, gaps_per_user_day=gaps_per_user_day, seed=seed, model=agent.model
    )
    run(sessions, agent, progress)
    events = [event for session in sessions for event in session.editor.events]
    landed = landing.write(out, events, random.Random(f"{seed} landing"))
    decisions = [decision for session in sessions for decision in session.decisions]
    done = Counter(decision.behaviour for decision in decisions)
    made = Simulated(
        files=landed.files,
        n_lines=landed.n_lines,
        n_events=len(events),
        n_duplicates=landed.n_duplicates,
        n_malformed=landed.n_malformed,
        n_late=landed.n_late,
        n_documents=sum(len(session.files) for session in sessions),
        n_shown=len(decisions),
        behaviours={name: done[name] for name in BEHAVIOURS},
    )
    parameters = _parameters(
        source,
        days,
        start,
        users=users,
        gaps_per_user_day=gaps_per_user_day,
        seed=seed,
        model_digest=agent.digest,
    )
    landing.write_manifest(out, parameters, made.counts(), landed.files)
    return made


def counts_if_simulated(
    source: Path,
    days: int,
    start: date,
    out: Path,
    *,
    users: int,
    gaps_per_user_day: int,
    seed: int,
    model_digest: str,
) -> dict[str, Any] | None:
    """Return the counts of what stands in `out`, if `simulate` with these arguments made it; else None."""
    parameters = _parameters(
        source,
        days,
        start,
        users=users,
        gaps_per_user_day=gaps_per_user_day,
        seed=seed,
        model_digest=model_digest,
    )
    return landing.counts_if_made_from(out, parameters)


def plan(
    source: Path, days: int, start: date, *, users: int, gaps_per_user_day: int, seed: int, model: str
) -> list[Session]:
    """Return the sessions of every developer and day, not yet begun."""
    people = [_person(index, users, seed) for index in range(users)]
    stock = _deal(source, seed)
    sessions = []
    for number in range(days):
        for person in people:
            rng = random.Random(f"{seed} {number} {person.user_id}")
            files = _take(
                stock,
                gaps_per_user_day,
                f"{users} developers x {days} days x {gaps_per_user_day} gaps",
                source,
            )
            day = start + timedelta(days=number)
            # The last day ends at midnight: nobody works into a day that is not simulated.
            begin = _begin(day, late=person.is_late and number < days - 1, rng=rng)
            constant = {
                "user_id": person.user_id,
                "repository": source.name,
                "language": "python",
                "source": "simulated",
                "cohort": "simulated",
                "consent": person.consent,
            }
            editor = Editor(f"s-{day:%Y%m%d}-{person.user_id[2:10]}", begin, constant, model)
            sessions.append(Session(person, editor, files, source.name, rng))
    return sessions


def run(sessions: Sequence[Session], agent: Agent, progress: Progress | None = None) -> None:
    """Run all sessions side by side, answering all that wait in one batch.

    Requests for several lines wait until nobody waits for a single one, so that batches hold answers of
    like length.
    """
    total = sum(session.n_asks for session in sessions)
    works = [session.work() for session in sessions]
    waiting: dict[int, Request] = {}
    answered = 0
    for index, work in enumerate(works):
        if (request := next(work, None)) is not None:
            waiting[index] = request
    while waiting:
        fewest = min(request.max_lines for request in waiting.values())
        batch = {index: request for index, request in waiting.items() if request.max_lines == fewest}
        proposals = agent.propose(list(batch.values()))
        for index, proposal in zip(batch, proposals, strict=True):
            try:
                waiting[index] = works[index].send(proposal)
            except StopIteration:
                del waiting[index]
        answered += len(batch)
        if progress is not None:
            progress(min(answered, total), total)
    if progress is not None:
        progress(total, total)


def _parameters(source: Path, days: int, start: date, **others: int | str) -> dict[str, Any]:
    """Return everything that the landing files depend on, the code of the simulation included."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    return {
        "source": source.name,
        "source_sha256": _digest(f"{path}\0{text}\0" for path, text in code.read(source)),
        "days": days,
        "start": start.isoformat(),
        **others,
        "simulation_sha256": _digest(file.read_text(encoding="utf-8") for file in own),
    }


def _digest(texts: Iterable[str]) -> str:
    total = sha256()
    for text in texts:
        total.update(text.encode())
    return total.hexdigest()


def _person(index: int, users: int, seed: int) -> Developer:
    """Return a developer. The id is a pseudonym of nobody, and the same on every machine."""
    user_id = "u_" + sha256(f"simulated developer {index}".encode()).hexdigest()[:16]
    without_consent = index % _WITHOUT_CONSENT == _WITHOUT_CONSENT - 1 or (
        1 < users < _WITHOUT_CONSENT and index == users - 1
    )
    return developer(index, user_id, not without_consent, random.Random(f"{seed} {user_id}"))


def _deal(source: Path, seed: int) -> Iterator[CodeFile]:
    """Yield the files worth writing, shuffled; first those with astral characters, which are rare."""
    files = code.read(source)
    random.Random(f"{seed} files").shuffle(files)
    files.sort(key=lambda file: not any(ord(character) > 0xFFFF for character in file[1]))
    for path, text in files:
        file = code.plan(path, text, random.Random(f"{seed} {path}"))
        if file is not None:
            yield file


def _take(stock: Iterator[CodeFile], n_asks: int, wanted: str, source: Path) -> list[CodeFile]:
    """Take files off the stock until they hold `n_asks` asks."""
    taken: list[CodeFile] = []
    while n_asks > 0:
        file = next(stock, None)
        if file is None:
            raise SimulationError(
                f"{source} holds too little code for {wanted}; ask for less or give more code"
            )
        file = code.trim(file, n_asks)
        n_asks -= file.n_asks
        taken.append(file)
    return taken


def _begin(day: date, *, late: bool, rng: random.Random) -> datetime:
    hour = (
        time(23, rng.randint(44, 54), rng.randint(0, 59))
        if late
        else time(rng.randint(8, 13), rng.randint(0, 59))
    )
    return datetime.combine(day, hour, UTC)
