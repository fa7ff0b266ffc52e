"""What the docs say of settings and commands is what the code has."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from echo_dagster.cli import app
from echo_dagster.settings import Settings, Source

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def setting_rows(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every setting as a line of the table in docs/configuration.md."""
    rows = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if name == "base_model":
            continue  # a file of configs/models/, described in docs/models.md
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows += setting_rows(inner, f"{prefix}{name}.")
            continue
        default = "(none)" if field.default is PydanticUndefined else f"`{_shown(field.default)}`"
        assert field.description, f"{prefix}{name} has no description"
        rows.append(f"| `{prefix}{name}` | {default} | {field.description} |")
    return rows


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[]" if not value else str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_setting_stands_in_the_docs_with_its_default():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    missing = [row for row in setting_rows(Settings) + setting_rows(Source) if row not in text]
    assert not missing, "\n".join(["docs/configuration.md lacks:", *missing])


def test_every_command_stands_in_the_docs():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    groups = [
        ("", app),
        *((f"{group.typer_instance.info.name} ", group.typer_instance) for group in app.registered_groups),
    ]
    for prefix, group in groups:
        for command in group.registered_commands:
            name = prefix + (command.name or command.callback.__name__)
            assert f"echo-dagster {name}" in text, name


@pytest.mark.parametrize(
    "page", sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")]), ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
