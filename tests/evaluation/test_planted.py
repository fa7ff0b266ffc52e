"""Planted cases, with real models: one that is broken for a language, and ties. Does the gate see them?"""

import polars as pl
import pytest
from known import MARKS, taught
from tiny import FIM

from echo_dagster.evaluation import gate, user
from echo_dagster.evaluation.compare import compare
from echo_dagster.refinery.schema import SCORED_SCHEMA
from echo_dagster.settings import Evaluation

#: Enough for a handful of short texts.
STEPS = 50
SETTINGS = Evaluation(
    max_new_tokens=16, bootstrap_samples=400, min_samples=30, min_slice_samples=10, batch_size=40
)
#: What users wrote, by language, and what a model that is broken for Go writes there.
WRITTEN = {"python": ("total(prices)", "sum(lines)", "line.strip()"), "go": ("len(orders)", "append(lines)")}
BROKEN = ("<<<<<<< HEAD", "None")


def gaps(n: int = 40, languages: tuple[str, ...] = ("python", "go"), **middles) -> pl.DataFrame:
    """Return held-out gaps of ten users, of which `languages` take turns."""
    rows = []
    for index in range(n):
        language = languages[index % len(languages)]
        texts = middles.get(language, WRITTEN[language])
        which = index // len(languages) % len(texts)
        rows.append(
            {
                "sample_id": f"{index:03}",
                "region_id": f"r{index:03}",
                "user_id": f"u{index // len(languages) % 10}",
                "language": language,
                "prefix": f"def f{which}(lines):\n    return "
                if language == "python"
                else f"func F{which}() {{\n\t",
                "suffix": "\n",
                "middle": texts[which],
                **dict.fromkeys(MARKS, False),
            }
        )
    return pl.DataFrame(rows, schema={**SCORED_SCHEMA, **dict.fromkeys(MARKS, pl.Boolean())})


def lesson(**middles) -> pl.DataFrame:
    """Return one gap of each kind, for teaching."""
    return gaps(6, **middles).unique(["prefix", "middle"], maintain_order=True)


def only(language: str, **middles) -> pl.DataFrame:
    return lesson(**middles).filter(language=language)


@pytest.fixture(scope="module")
def accepting():
    """A user who accepts what will stand there in the end, nine times of ten, and nothing else, nine times of ten."""
    written = [text for texts in WRITTEN.values() for text in texts]
    rows = [
        {
            "completion_id": f"{index:03}",
            "user_id": f"u{index % 10}",
            "language": "python",
            "proposal": written[index % len(written)] if index % 2 else "None",
            "final": written[index % len(written)],
            "is_accepted": bool(index % 2) != (index % 20 in (0, 1)),
            "retained_chars": float(len(written[index % len(written)])),
        }
        for index in range(400)
    ]
    fitted = user.fit(pl.DataFrame(rows))
    assert fitted.distrust is None
    return fitted.user


@pytest.fixture(params=["the user decides", "edit similarity decides"])
def decided(request, accepting):
    """What the gate makes of models that stand in roles, by either of its rules."""
    is_trusted = request.param == "the user decides"

    def decide(held_out, **roles):
        _, evaluated = compare(held_out, roles, FIM, SETTINGS, user=accepting if is_trusted else None)
        return evaluated, gate.decide(evaluated, SETTINGS, distrust=None if is_trusted else "planted")

    return decide


def gain(evaluated, name):
    found = evaluated.filter(role="candidate", versus="champion", metric="edit_similarity", slice=name)
    return found.row(0, named=True)


@pytest.fixture(scope="module")
def knowing(tiny_base, tmp_path_factory):
    """A model that knows both languages."""
    return taught(tiny_base, lesson(), tmp_path_factory.mktemp("knowing") / "model", STEPS)


@pytest.fixture(scope="module")
def broken(tiny_base, tmp_path_factory):
    """A model that knows Python, and writes nonsense in Go."""
    return taught(tiny_base, lesson(go=BROKEN), tmp_path_factory.mktemp("broken") / "model", STEPS)


def test_a_model_broken_for_one_language_is_refused(decided, tiny_base, knowing, broken):
    evaluated, decision = decided(gaps(), base=tiny_base, champion=knowing, candidate=broken)
    assert gain(evaluated, "language=go")["high"] < -0.5
    assert gain(evaluated, "language=python")["value"] == pytest.approx(0, abs=0.02)
    assert decision.decision == "kept"


def test_a_gain_on_the_whole_does_not_make_up_for_a_broken_language(
    decided, tiny_base, broken, tmp_path_factory
):
    serving = taught(tiny_base, only("go"), tmp_path_factory.mktemp("go") / "model", STEPS)
    mostly_python = gaps(60, ("python", "python", "python", "python", "go"))
    evaluated, decision = decided(mostly_python, base=tiny_base, champion=serving, candidate=broken)
    assert gain(evaluated, "all")["low"] > 0 > gain(evaluated, "language=go")["high"]
    assert decision.decision == "kept"
    assert "go" in decision.reason


def test_the_same_weights_tie_and_the_champion_stays(decided, tiny_base, knowing):
    evaluated, decision = decided(gaps(), base=tiny_base, champion=knowing, candidate=knowing)
    assert (gain(evaluated, "all")["low"], gain(evaluated, "all")["high"]) == (0, 0)
    assert decision.decision == "kept"


def test_two_models_that_know_as_much_tie_and_the_champion_stays(decided, tiny_base, tmp_path_factory):
    one, other = (
        taught(tiny_base, lesson().gather(places), tmp_path_factory.mktemp("half") / "model", STEPS)
        for places in ([0, 1], [2, 3])  # a function of each language, and another
    )
    half = gaps(80, python=WRITTEN["python"][:2])
    evaluated, decision = decided(half, base=tiny_base, champion=one, candidate=other)
    assert gain(evaluated, "all")["low"] < 0 < gain(evaluated, "all")["high"]
    assert decision.decision == "kept"


def test_a_better_model_is_promoted_so_that_refusing_means_something(decided, tiny_base, knowing, broken):
    _, decision = decided(gaps(), base=tiny_base, champion=broken, candidate=knowing)
    assert decision.decision == "promoted"
