"""The directions of import that docs/architecture.md promises, read off the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("acquisition", "extraction", "refinery", "optimization", "evaluation", "governance")
HEAVY = {"torch", "transformers", "deepspeed", "accelerate", "ray", "sklearn", "dagster"}
#: Parts of a stage that a later stage may see: what its rows look like.
SHARED = {"schema"}


def imports(file: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def library() -> list[Path]:
    return sorted((ROOT / "echo_dagster").rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", library(), ids=name)
def test_only_definitions_knows_the_dag(file: Path):
    if file.name == "definitions.py":
        return
    for imported in imports(file):
        assert imported.split(".")[0] not in {"dagster", "assets"}, f"{name(file)} imports {imported}"


@pytest.mark.parametrize("file", library(), ids=name)
def test_a_stage_sees_only_the_schema_of_an_earlier_stage(file: Path):
    stage = file.relative_to(ROOT / "echo_dagster").parts[0]
    if stage not in STAGES:
        return
    for imported in imports(file):
        parts = imported.split(".")
        if parts[0] != "echo_dagster" or len(parts) < 3 or parts[1] not in STAGES or parts[1] == stage:
            continue
        assert STAGES.index(parts[1]) < STAGES.index(stage), f"{name(file)} looks ahead to {imported}"
        assert parts[2] in SHARED, f"{name(file)} reaches into {imported}"


@pytest.mark.parametrize("file", [*library(), *sorted((ROOT / "assets").glob("*.py"))], ids=name)
def test_the_code_location_loads_without_a_deep_learning_library(file: Path):
    if name(file).startswith("echo_dagster/optimization/train"):
        return  # runs in a process of its own
    heavy = {imported.split(".")[0] for imported in imports(file, top_level_only=True)} & HEAVY
    allowed = {"dagster"} if name(file).startswith("assets/") or file.name == "definitions.py" else set()
    assert heavy <= allowed, f"{name(file)} imports {sorted(heavy - allowed)} at the top"


def test_an_asset_file_stays_a_thin_shell():
    for file in (ROOT / "assets").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[-1].end_lineno - node.body[0].lineno + 1
                assert body <= 40, f"{name(file)}: {node.name} has {body} lines"
