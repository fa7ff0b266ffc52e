"""An agent that knows the code being written and proposes it, spoilt more or less. For tests only."""

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from echo_dagster.simulation.agent import Request

START = date(2026, 1, 5)
DAYS = 2
USERS = 4
GAPS = 24

ASTRAL = '''"""Faces 😀 and notes 𝄞."""

from collections import OrderedDict

FACES = {"happy": "😀", "sad": "😢"}


def describe(name, fallback=None):
    face = FACES.get(name, fallback)
    if face is None:
        raise KeyError(f"no face is called {name} 😶")
    return "the face 😀 is " + face + " for " + name


def ordered(names):
    result = OrderedDict()
    for name in sorted(names):
        result[name] = describe(name, fallback="😐")
    return result


def longest(names):
    best = max(names, key=len)
    print("longest 😀😀", best, len(best))
    return best.strip().lower()
''' + "".join(
    f"""

def face_{number}(names, count={number}):
    chosen = [name for name in names if len(name) > count]
    text = "😀" * count + ", ".join(chosen)
    return ordered(chosen) if count else text.upper()
"""
    for number in range(8)
)


class KnowingAgent:
    """Proposes the code that follows in the file, right or spoilt as the request alone decides."""

    model = "knowing"
    digest = "0" * 16

    def __init__(self, source: Path) -> None:
        self._texts = [path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))]
        self.batches: list[int] = []

    def propose(self, requests: Sequence[Request]) -> list[str]:
        self.batches.append(len(requests))
        return [self._propose(request) for request in requests]

    def _propose(self, request: Request) -> str:
        true = next((found for text in self._texts if (found := _after(text, request))), "pass")
        rng = random.Random(request.prefix[-200:])
        words = true.split(" ")
        match rng.randrange(6):
            case 0 | 1:
                return true
            case 2:  # right, but for its end
                return " ".join([*words[:-1], "wrong_name"])
            case 3:  # right as far as it goes
                return true[: max(1, len(true) // 2)].rstrip()
            case 4:
                return words[0] + " and then something quite different()"
            case _:
                return rng.choice(["", "unrelated = 7", "return None"])


def _after(text: str, request: Request) -> str:
    tail = request.prefix[-60:]
    at = text.find(tail)
    return "\n".join(text[at + len(tail) :].split("\n")[: request.max_lines]).rstrip() if at >= 0 else ""
