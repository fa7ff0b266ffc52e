"""What the comparison of a day comes to, in plain words: better, worse, or cannot be told.

What lives here: reading the paired differences over all held-out gaps. What does not: the gate (`gate.py`), which
decides by its own rule and says so in `champion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What is asked first of a model, in this order. Two of them are the calibrated user's, and count where it is trusted.
HEADLINES = ("predicted_retained_chars", "predicted_acceptance_rate", "edit_similarity")
NAMES = {"base": "the base model", "champion": "the champion", "static": "the static baseline"}


def verdicts(compared: Mapping[str, Any], user: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for the candidate against each other role, a word and the differences that it rests on.

    Better: an interval of a gain lies above zero, and none below it. Worse: the other way round. Both: mixed. Neither:
    cannot be told. A role that the candidate was not held against says so.
    """
    if "table" not in compared:
        return []
    if "candidate" not in compared["roles"]:
        return []
    asked = HEADLINES if user.get("is_trusted") in (True, None) else HEADLINES[-1:]
    rows = {
        row["metric"]: row for group in compared["table"] if group["slice"] == "all" for row in group["rows"]
    }
    told = []
    for versus, name in NAMES.items():
        pair = ("candidate", versus)
        cells = []
        if pair in compared["pairs"]:
            place = compared["pairs"].index(pair)
            cells = [rows[metric]["differences"][place] for metric in asked if metric in rows]
            cells = [cell for cell in cells if cell is not None]
        told.append({"versus": name, "word": _word(cells), "cells": cells})
    return told


def _word(cells: list[dict[str, Any]]) -> str:
    if not cells:
        return "not compared"
    found = {cell["verdict"] for cell in cells}
    if {"better", "worse"} <= found:
        return "mixed"
    return "better" if "better" in found else "worse" if "worse" in found else "cannot be told"
