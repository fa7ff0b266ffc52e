"""Telling a server over HTTP that another model serves, and remembering whether it heard.

The message and its signature follow the Standard Webhooks specification (standardwebhooks.com), so that a receiver
needs no code of ours. What lives here: sending, and the table `champion_deliveries`. What does not: when to try again
later (`assets/automation.py`).

Told is always the last change: a server that missed one wants to know what serves now, not what served meanwhile. It
is told until it answers with a 2xx, so it can hear of a change twice; the header `webhook-id` is then the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any

import polars as pl

from echo_dagster import __version__
from echo_dagster.evaluation import serving
from echo_dagster.evaluation.schema import DELIVERY_SCHEMA
from echo_dagster.lake import Lake
from echo_dagster.settings import Serving

DELIVERIES = "champion_deliveries"
SECRET_VARIABLE = "ECHO_WEBHOOK_SECRET"

#: Statuses after which the same message can be taken a moment later, besides all 5xx.
_TRY_AGAIN = (408, 425, 429)
#: After a failed delivery the next waits so long, and twice as long after each further one, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=6)


@dataclass(frozen=True)
class Told:
    """Whether the server knows what serves, and in words how that came about. `attempts` is how often it was asked."""

    is_known: bool
    in_words: str
    attempts: int = 0


def pending(lake: Lake, settings: Serving) -> dict[str, Any] | None:
    """Return the change that the server has not heard of; null where it has, or where there is nothing to tell.

    The first model that ever serves is no change.
    """
    known = serving.changes(lake)
    if settings.webhook_url is None or known.is_empty():
        return None
    last = known.row(-1, named=True)
    heard = _deliveries(lake, last["change_id"])["is_delivered"].any()
    return None if heard or last["previous_digest"] is None else last


def due(lake: Lake, settings: Serving, now: datetime) -> str | None:
    """Return a name for the delivery that should be tried now; null where nothing is pending, or it is too early."""
    change = pending(lake, settings)
    if change is None:
        return None
    failed = _deliveries(lake, change["change_id"])
    wait = min(_FIRST_WAIT * 2 ** min(max(failed.height - 1, 0), 16), _LONGEST_WAIT)
    since = change["changed_at"] if failed.is_empty() else failed.item(-1, "attempted_at")
    return f"{change['change_id']}:{failed.height}" if now >= since + wait else None


def tell(
    lake: Lake, settings: Serving, now: datetime, *, pause: Callable[[float], None] = time.sleep
) -> Told:
    """Send the pending change, if there is one, and record whether it was heard. A failure is returned, not raised.

    Raises:
        ValueError: the secret in the environment is not base64.
    """
    change = pending(lake, settings)
    if change is None:
        why = "no webhook is configured" if settings.webhook_url is None else "no change is untold"
        return Told(True, why)
    assert settings.webhook_url is not None  # else nothing would be pending
    secret = _secret()
    body = json.dumps(message(change)).encode()
    outcome, is_delivered, attempts = "", False, 0
    for attempts in range(1, settings.webhook_retries + 2):
        outcome, is_delivered, may_help = _post(
            settings.webhook_url, change["change_id"], body, secret, settings.webhook_timeout_s
        )
        if is_delivered or not may_help or attempts > settings.webhook_retries:
            break
        pause(2.0 ** (attempts - 1))
    row = {
        "day": change["day"],
        "change_id": change["change_id"],
        "attempted_at": now,
        "is_delivered": is_delivered,
        "attempts": attempts,
        "outcome": outcome,
    }
    lake.append(DELIVERIES, pl.DataFrame([row], schema={"day": pl.Date(), **DELIVERY_SCHEMA}))
    what = "was told of" if is_delivered else "does not know of"
    return Told(is_delivered, f"the server {what} {change['model_digest']}: {outcome}", attempts)


def message(change: dict[str, Any]) -> dict[str, Any]:
    """Return the message about a change: names, days and words, nobody's code."""
    names = ("model_digest", "path", "since", "day", "previous_digest", "decision", "decided_by", "reason")
    return {
        "type": "champion.changed",
        "timestamp": change["changed_at"].isoformat(),
        "data": {name: _plain(change[name]) for name in names},
    }


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: HMAC-SHA256 over id, time (s since 1970) and body, joined by dots."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _post(
    url: str, message_id: str, body: bytes, secret: bytes | None, timeout: float
) -> tuple[str, bool, bool]:
    """Post once. Return what came of it, whether it was heard, and whether to try again may help."""
    timestamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"echo-dagster/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
    }
    if secret is not None:
        headers["webhook-signature"] = signature(secret, message_id, timestamp, body)
    try:
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout) as answer:
            return f"HTTP {answer.status}", True, False
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}", False, error.code >= 500 or error.code in _TRY_AGAIN
    except (
        OSError,
        HTTPException,
    ) as error:  # refused, timed out, cut off; a URL can hold a token: never quote it
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"no answer: {type(cause).__name__}", False, True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its message, and count as heard."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _secret() -> bytes | None:
    told = os.environ.get(SECRET_VARIABLE, "")
    if not told:
        return None
    try:
        return base64.b64decode(told.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError(f"{SECRET_VARIABLE} is not base64 (with or without whsec_ before it)") from None


def _deliveries(lake: Lake, change_id: str) -> pl.DataFrame:
    if not lake.exists(DELIVERIES):
        return pl.DataFrame(schema={"day": pl.Date(), **DELIVERY_SCHEMA})
    rows = lake.read(DELIVERIES).filter(pl.col("change_id") == change_id)
    return rows.sort("attempted_at").collect()


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)
