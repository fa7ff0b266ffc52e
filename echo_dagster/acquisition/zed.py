"""Examples and settled predictions of Zed's edit prediction, made into the experience log.

One line, or one Markdown file, is one prediction: what stood around the cursor, what the model proposed, and what
the user had settled on when the region had been quiet for ten seconds. Each is a stream of its own, named after its
request. `docs/importing/zed.md` has the rules in full.

What does not live here: the forms that a prediction is written in (`zed_predictions.py`, `zed_markdown.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echo_dagster import utf16
from echo_dagster.acquisition import zed_markdown
from echo_dagster.acquisition.fields import Unusable
from echo_dagster.acquisition.languages import language_of
from echo_dagster.acquisition.lines import objects, parsed, suffix_of, whole
from echo_dagster.acquisition.places import document as document_name
from echo_dagster.acquisition.records import Bad, Record, stable_id
from echo_dagster.acquisition.zed_predictions import Prediction, prediction_of
from echo_dagster.settings import Source
from echo_dagster.text import shared_head

#: A file that holds one example is read whole.
MAX_EXAMPLE_BYTES = 64 * 1024 * 1024

_LINES = (".jsonl", ".ndjson")


def read(path: Path, source: Source) -> Iterator[Record | Bad]:
    """Yield the events of every example of a file: JSON lines, or one example as JSON or Markdown.

    Reasons of `Bad`: those of `lines.objects`, and `file_too_large`, `unknown_file_type`, `missing_field`,
    `wrong_type`, `bad_timestamp`, `impossible_offset`, `no_proposal`, `not_shown`, `patch_failed`.
    """
    for item in _examples(path):
        if isinstance(item, Bad):
            yield item
            continue
        try:
            prediction = prediction_of(item.fields, path)
        except Unusable as bad:
            yield Bad(item.line, bad.reason, bad.detail)
            continue
        for seq, fields in enumerate(_events(prediction)):
            yield Record(item.line, {**_where(prediction, fields["kind"]), **fields, "seq": seq})


def _examples(path: Path) -> Iterator[Record | Bad]:
    suffix = suffix_of(path)
    if str(path) == "-" or suffix in _LINES:
        yield from objects(path)
    elif suffix in (".json", ".md"):
        yield from _whole(path, suffix)
    else:
        yield Bad(0, "unknown_file_type", "expected .jsonl, .ndjson, .json or .md, also with .gz or .zst")


def _whole(path: Path, suffix: str) -> Iterator[Record | Bad]:
    """Yield the one example of a file."""
    content = whole(path, MAX_EXAMPLE_BYTES, "an example", line=1)
    if isinstance(content, Bad):
        yield content
    elif suffix == ".json" and content.strip():
        yield parsed(1, content)
    elif content.strip():
        try:
            yield Record(1, zed_markdown.parsed(content.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            yield Bad(1, "bad_encoding", f"byte {error.start} is not UTF-8")


def _events(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """Yield what is particular to each event: shown, what the user decided, what was settled.

    The gap is the part of the excerpt that the model or the user changed. An excerpt reaches beyond what may be
    edited unless the document ends there, so that a gap at its end, or its beginning, is at that of the document.
    """
    excerpt, proposed, settled = prediction.excerpt, prediction.proposed, prediction.settled
    others = [proposed] if settled is None else [proposed, settled]
    head = min(shared_head(excerpt, other) for other in others)
    tail = min(shared_head(excerpt[head:][::-1], other[head:][::-1]) for other in others)
    prefix, replaced = excerpt[:head], excerpt[head : len(excerpt) - tail]
    suffix = excerpt[len(excerpt) - tail :]
    is_head_known = prediction.is_head_known or not prefix
    yield {
        "kind": "shown",
        "model": prediction.model,
        "offset": utf16.length(prefix) if is_head_known else None,
        "length": utf16.length(replaced),
        "text": proposed[head : len(proposed) - tail],
        "prefix": prefix,
        "suffix": replaced + suffix,
    }
    if prediction.is_accepted:
        yield {"kind": "accepted"}
    elif prediction.rejection is not None:
        yield {"kind": "rejected", "reason": prediction.rejection}
    if settled is not None:
        before = settled[: len(settled) - tail]
        yield {
            "kind": "snapshot",
            "reason": "request",  # the document as far as the excerpt goes
            "offset": utf16.length(before) if is_head_known else None,
            "prefix": before,
            "suffix": suffix,
        }


def _where(prediction: Prediction, kind: str) -> dict[str, Any]:
    document = document_name(prediction.path)
    return {
        "event_id": stable_id("zed", prediction.id, kind),
        "ts": prediction.time,
        "user_id": prediction.user,
        "session_id": prediction.id,
        "document": document,
        "repository": prediction.repository,
        "language": language_of(document),
        "completion_id": None if kind == "snapshot" else prediction.id,
        **({} if prediction.may_train else {"consent": False}),
    }
