"""A prediction of Zed's model, from the forms that Zed's tools write it in: an example, or a row of telemetry.

What does not live here: reading files and what becomes an event (`zed.py`), diffs (`zed_patch.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from echo_dagster.acquisition import times, zed_patch
from echo_dagster.acquisition.fields import Unusable, optional, required
from echo_dagster.acquisition.places import repository as repository_name
from echo_dagster.acquisition.records import stable_id

#: Why a prediction went away, in our words. `discarded` says only that the user went on, so it is no decision.
_REJECTIONS = {"rejected": "dismissed", "replaced": "superseded", "currentpreferred": "superseded"}

#: The region that a model may edit, by the format of its prompt. All later formats have the last one.
_REGIONS = (
    ("v0112", "editable_150"),
    ("v0113", "editable_150"),
    ("v0114", "editable_180"),
    ("", "editable_350"),
)

_CURSOR = "[CURSOR_POSITION]"


@dataclass(frozen=True)
class Prediction:
    """What a model proposed for an excerpt of a document, and what became of it.

    Attributes:
        id: names the request.
        user, time, path, repository, model: who asked, when, in which file; the model's version.
        may_train: false where the user said that this may not be collected.
        is_head_known: the excerpt begins where the document does.
        excerpt: the text around the cursor.
        proposed, settled: the excerpt as the model would have it, and as the user left it; null where unknown.
        is_accepted: the user took it.
        rejection: why it went away, where that is known and the prediction was shown.
    """

    id: str
    user: str | None
    time: datetime
    path: str
    repository: str | None
    model: str | None
    may_train: bool
    is_head_known: bool
    excerpt: str
    proposed: str
    settled: str | None
    is_accepted: bool
    rejection: str | None


def prediction_of(fields: Mapping[str, Any], path: Path) -> Prediction:
    """Return what a line says, as an example or as a settled prediction.

    Raises:
        Unusable: it says too little, or something impossible.
    """
    is_row = any(name in fields for name in ("settled_editable_region", "requested_output", "output"))
    return _of_row(fields, path) if is_row else _of_example(fields, path)


def _of_example(fields: Mapping[str, Any], path: Path) -> Prediction:
    """Read an `ExampleSpec`: its patches are diffs of the excerpt."""
    document = required(fields, "cursor_path", str)
    telemetry = _object(fields, "telemetry") or {}
    inputs = _object(fields, "prompt_inputs") or _object(fields, "captured_prompt_input") or {}
    excerpt, first_row = _excerpt(fields, inputs)
    tags = fields.get("tags")
    is_accepted = isinstance(tags, list) and "accepted" in tags
    patch = optional(fields, "rejected_patch", str)
    if patch is None and is_accepted:
        patch = _accepted_patch(fields)
    if patch is None:
        raise Unusable("no_proposal", "neither rejected_patch nor an accepted prediction")
    rejection = _rejection(telemetry.get("rejection_reason"), telemetry.get("was_shown"))
    expected = fields.get("expected_patches")
    if expected is not None and not (
        isinstance(expected, list) and all(isinstance(one, str) for one in expected)
    ):
        raise Unusable("wrong_type", "expected_patches: expected a list of texts")
    proposed = _patched(patch, excerpt, document, first_row, "rejected_patch")
    # Several are alternatives that a person wrote; the tool itself trains on the first.
    settled = _patched(expected[0], excerpt, document, first_row, "expected_patches") if expected else None
    return _made(
        identity=telemetry.get("request_id"),
        user=telemetry.get("device_id"),
        time=_time(telemetry.get("time"), path),
        path=document,
        repository=fields.get("repository_url"),
        fields=fields,
        inputs=inputs,
        excerpt=excerpt,
        proposed=proposed,
        settled=settled,
        is_accepted=is_accepted,
        rejection=rejection,
    )


def _of_row(fields: Mapping[str, Any], path: Path) -> Prediction:
    """Read a settled prediction with its request: texts replace the region of the excerpt that could be edited."""
    inputs = _object(fields, "input")
    if inputs is None:
        raise Unusable("missing_field", "input")
    output = optional(fields, "requested_output", str)
    output = optional(fields, "output", str) if output is None else output
    if output is None:
        raise Unusable("no_proposal", "requested_output")
    excerpt = required(inputs, "cursor_excerpt", str)
    before, after = _around_region(fields, inputs, excerpt)
    settled = optional(fields, "settled_editable_region", str)
    return _made(
        identity=fields.get("request_id"),
        user=fields.get("device_id"),
        time=_time(fields.get("time"), path),
        path=required(inputs, "cursor_path", str),
        repository=inputs.get("repo_url"),
        fields=fields,
        inputs=inputs,
        excerpt=excerpt,
        proposed=before + output + after,
        settled=None if settled is None else before + settled + after,
        is_accepted=False,
        rejection=_rejection(fields.get("reason"), fields.get("was_shown")),
    )


def _made(
    *,
    identity: object,
    user: object,
    repository: object,
    fields: Mapping[str, Any],
    inputs: Mapping[str, Any],
    **told: Any,
) -> Prediction:
    """Return the prediction, with an id made of what it says where it has none."""
    if told["proposed"] == told["excerpt"]:
        raise Unusable("no_proposal", "the prediction changes nothing")
    content = (told["path"], told["excerpt"], told["proposed"])
    row = inputs.get("excerpt_start_row")
    return Prediction(
        id=identity if isinstance(identity, str) and identity else stable_id("zed", *content),
        user=user if isinstance(user, str) and user else None,
        repository=repository_name(repository),
        model=optional(fields, "model_version", str),
        may_train=inputs.get("can_collect_data") is not False and fields.get("can_collect_data") is not False,
        is_head_known=row == 0 and not isinstance(row, bool),
        **told,
    )


def _excerpt(fields: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[str, int]:
    """Return the text around the cursor, and its row in the document as far as it is known."""
    row = inputs.get("excerpt_start_row")
    for name in ("cursor_excerpt", "content", "cursor_file_content"):
        if isinstance(text := inputs.get(name), str):
            return text, row if isinstance(row, int) and not isinstance(row, bool) else 0
    text = required(fields, "cursor_position", str)
    if zed_patch.INLINE_CURSOR in text:
        return text.replace(zed_patch.INLINE_CURSOR, "", 1), 0
    at = text.find(_CURSOR)
    if at > 0 and text[at - 1] in "^<":  # a comment of its own line marks the cursor in the line above
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        return (text[:start] + ("" if end < 0 else text[end + 1 :])).rstrip("\n"), 0
    return text.replace(_CURSOR, "", 1), 0


def _accepted_patch(fields: Mapping[str, Any]) -> str | None:
    predictions = fields.get("predictions")
    first = predictions[0] if isinstance(predictions, list) and predictions else None
    return optional(first, "actual_patch", str) if isinstance(first, dict) else None


def _around_region(fields: Mapping[str, Any], inputs: Mapping[str, Any], excerpt: str) -> tuple[str, str]:
    """Return what stands before and after the region that the model was asked to rewrite; its bounds are bytes."""
    layout = fields.get("requested_format")
    layout = layout.lower() if isinstance(layout, str) else ""
    ranges = inputs.get("excerpt_ranges")
    if isinstance(ranges, dict):
        region = ranges.get(next(name for start, name in _REGIONS if layout.startswith(start)))
    else:
        region = inputs.get("editable_range_in_excerpt")
    start, end = (region.get("start"), region.get("end")) if isinstance(region, dict) else (None, None)
    if type(start) is not int or type(end) is not int:
        raise Unusable("missing_field", "excerpt_ranges")
    content = excerpt.encode("utf-8", "surrogatepass")
    try:
        if not 0 <= start <= end <= len(content):
            raise ValueError
        return content[:start].decode(), content[end:].decode()
    except ValueError as error:
        raise Unusable("impossible_offset", "excerpt_ranges: not a range of the excerpt") from error


def _patched(patch: str, excerpt: str, document: str, first_row: int, name: str) -> str:
    try:
        return zed_patch.apply(patch, excerpt, document, first_row)
    except zed_patch.PatchError as error:
        raise Unusable("patch_failed", f"{name}: {error}") from error


def _rejection(reason: object, was_shown: object) -> str | None:
    """Return why the user did not take a prediction, null where nothing says so.

    Raises:
        Unusable: it was never shown.
    """
    word = reason.lower().replace("_", "") if isinstance(reason, str) else ""
    if was_shown is False and word:  # an export without a reason writes false as well
        raise Unusable("not_shown", "the prediction went away before it was shown")
    return _REJECTIONS.get(word)


def _time(value: object, path: Path) -> datetime:
    """Return when the prediction was asked for; the beginning of the day in the file's name where it is not said."""
    if value is None and (day := times.midnight_in(path)) is not None:
        return day
    if value is None:
        raise Unusable("missing_field", "time; a day in the file's name would stand in for it")
    time = times.parsed(value)
    if time is None:
        raise Unusable("bad_timestamp", "time is not an ISO 8601 time")
    return time


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return an object, also one that stands as JSON in a text; null where it is absent."""
    value = fields.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Unusable("malformed_json", name) from error
    if value is not None and not isinstance(value, dict):
        raise Unusable("wrong_type", f"{name} is {type(value).__name__}, expected an object")
    return value
