"""An example of Zed's edit prediction tools as Markdown: front matter, headings, and fenced blocks under them.

The result has the fields of the JSON form, as far as Markdown has them: no telemetry, hence no time, no user and no
request. What does not live here: what the fields mean (`zed.py`).
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from typing import Any

_FRONT_MATTER = re.compile(r"\+\+\+\n(.*?)\+\+\+\n", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,})([^`]*)")


def parsed(text: str) -> dict[str, Any]:
    """Return the example that a Markdown file holds, without what is absent and without other sections."""
    example: dict[str, Any] = {"expected_patches": []}
    text = text.replace("\r\n", "\n")
    if match := _FRONT_MATTER.match(text):
        with suppress(
            tomllib.TOMLDecodeError, RecursionError
        ):  # an example without its repository is still one
            example["repository_url"] = tomllib.loads(match[1]).get("repository_url")
        text = text[match.end() :]
    section, fence, info, block = "", "", "", [""]
    for line in text.split("\n"):
        opening = _FENCE.fullmatch(line)
        if fence:
            if opening and not opening[2].strip() and len(opening[1]) >= len(fence):
                _add(example, section, info, "".join(block))
                fence = ""
            else:
                block.append(line + "\n")
        elif opening:
            fence, info, block = opening[1], opening[2].strip(), []
        elif line.startswith("# "):
            example["name"] = line[2:].strip()
        elif line.startswith("## "):
            section = line[3:].strip().lower()
    return example


def _add(example: dict[str, Any], section: str, info: str, block: str) -> None:
    if section == "cursor position":
        example["cursor_path"], example["cursor_position"] = info, block
    elif section == "rejected patch":
        example["rejected_patch"] = block
    elif section == "expected patch":
        example["expected_patches"].append(block)
