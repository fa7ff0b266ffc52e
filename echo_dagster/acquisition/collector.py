"""The collector: an HTTP endpoint that takes events from tools that can post, and appends them to a landing folder.

Nothing is answered with success before it is on the disk. A request is refused whole (bad token, too large, too
fast, not stored) or taken object by object; the answer counts what was taken and names each refusal by its line.

What does not live here: what an object must be (`collector_intake.py`), how lines reach the disk
(`collector_files.py`), tokens and rates (`collector_limits.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from echo_dagster.acquisition.collector_files import Folder, GroupCommit
from echo_dagster.acquisition.collector_intake import BadBody, Days, Expand, Taken, continue_dev, native, take
from echo_dagster.acquisition.collector_limits import Memory, Rate, Token, holder
from echo_dagster.acquisition.importers import SLACK

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger(__name__)

#: Bodies of so many requests of the largest size may be in memory at the same time.
_LARGEST_AT_A_TIME = 4
_CONNECTIONS = 1_000
_KEEP_ALIVE_S = 75  # longer than clients keep a connection, so that none posts into one that closes
_DRAIN_S = 30


@dataclass(frozen=True)
class Limits:
    """Bytes of a body before and after decompression, events a second by token and in all, days of delay."""

    max_body: int = 16 * 1024 * 1024
    rate: float = 200.0
    total_rate: float = 5_000.0
    late_days: int = 7
    body_s: float = 30.0


class Refused(Exception):
    """A request of which nothing is taken. `reason` is a code."""

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers


@dataclass
class Collector:
    """What the requests share. `first` and `last` are the days of the pipeline, `now` is the clock."""

    commits: GroupCommit
    tokens: Sequence[Token]
    pseudonym: Callable[[str], str]
    limits: Limits
    first: date
    last: date | None
    now: Callable[[], datetime]
    rates: Mapping[Token, Rate] = field(init=False)
    total: Rate = field(init=False)
    memory: Memory = field(init=False)
    taking: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.rates = {token: Rate(self.limits.rate) for token in self.tokens}
        self.total = Rate(self.limits.total_rate)
        self.memory = Memory(_LARGEST_AT_A_TIME * self.limits.max_body)

    async def receive(self, expand: Expand, request: Request) -> Response:
        """Take the events of one request, and answer when they are on the disk."""
        from starlette.responses import JSONResponse

        token = self._admitted(request)
        held: list[bytes] = []
        try:
            await self._read(request, held)
            taken = await self._take(b"".join(held), request, expand, token)
            await self._store(taken)
        finally:
            self.memory.give_back(sum(map(len, held)))
        return JSONResponse(
            {
                "accepted": taken.events,
                "ignored": taken.ignored,
                "refused": [
                    {"line": bad.line, "reason": bad.reason, "detail": bad.detail} for bad in taken.refused
                ],
            },
            status_code=200 if taken.events or not taken.refused else 422,
        )

    async def health(self, _: Request) -> Response:
        """Say whether events can be stored."""
        from starlette.responses import JSONResponse

        is_well = await self.commits.is_well()
        return JSONResponse(
            {"status": "ok" if is_well else "cannot store"}, status_code=200 if is_well else 503
        )

    def _admitted(self, request: Request) -> Token:
        token = holder(self.tokens, request.headers.get("authorization"))
        if token is None:
            raise Refused(401, "unknown_token", "give a known bearer token", {"WWW-Authenticate": "Bearer"})
        now = time.monotonic()
        if wait := max(self.total.wait(now), self.rates[token].wait(now)):
            raise Refused(429, "too_fast", "send again later", _in_seconds(wait))
        if int(request.headers.get("content-length", 0)) > self.limits.max_body:
            raise self._too_large()
        self._spend(token, 1)  # the rest when it is known how many there are
        return token

    async def _read(self, request: Request, held: list[bytes]) -> None:
        """Add the pieces of the body, decompressed, to `held`."""
        try:
            async with (
                asyncio.timeout(self.limits.body_s),
                aclosing(_plain(request, self.limits.max_body, self._too_large)) as pieces,
            ):
                async for piece in pieces:
                    if not self.memory.take(len(piece)):
                        raise Refused(
                            503, "busy", "too much is being received; send again later", _in_seconds(1)
                        )
                    held.append(piece)
        except TimeoutError as error:
            raise Refused(
                408, "too_slow", f"the body took over {self.limits.body_s:g} s", {"Connection": "close"}
            ) from error

    async def _take(self, body: bytes, request: Request, expand: Expand, token: Token) -> Taken:
        today = self.now().date()
        days = Days(
            first=max(self.first, today - timedelta(days=self.limits.late_days)),
            last=min(self.last or date.max, today + SLACK),
            today=today,
        )
        is_json = (
            request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        )
        try:
            async with self.taking:  # parsing can hold many times the body's size, so one body at a time
                taken = await asyncio.to_thread(
                    take,
                    body,
                    is_json=is_json,
                    expand=expand,
                    user=token.user,
                    pseudonym=self.pseudonym,
                    days=days,
                )
        except BadBody as bad:
            status = 413 if bad.reason == "too_many_events" else 400
            raise Refused(status, bad.reason, bad.detail) from bad
        self._spend(token, max(0, taken.events + len(taken.refused) + taken.ignored - 1))
        return taken

    async def _store(self, taken: Taken) -> None:
        try:
            if taken.lines:
                await self.commits.commit(taken.lines)
        except OSError as error:
            _LOG.error("%s", error, exc_info=error.__cause__)
            raise Refused(
                503, "not_stored", "the events are not on the disk; send them again", _in_seconds(5)
            ) from error

    def _spend(self, token: Token, events: int) -> None:
        self.total.spend(events)
        self.rates[token].spend(events)

    def _too_large(self) -> Refused:
        return Refused(
            413, "body_too_large", f"more than {self.limits.max_body} bytes, before or after decompression"
        )


async def _plain(
    request: Request, limit: int, too_large: Callable[[], Refused]
) -> AsyncGenerator[bytes, None]:
    """Yield the body piece by piece, decompressed where its encoding says so; stop at `limit` bytes of either."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(415, "unknown_encoding", "expected gzip or none", {"Accept-Encoding": "gzip"})
    received = given = 0
    inflate = zlib.decompressobj(wbits=31)
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_large()
        if encoding == "identity":
            yield chunk
            continue
        rest = chunk
        while rest:
            if inflate.eof:  # another member follows
                inflate = zlib.decompressobj(wbits=31)
            try:
                piece = inflate.decompress(rest, limit + 1 - given)
            except zlib.error as error:
                raise Refused(400, "damaged_body", "not gzip, or damaged") from error
            given += len(piece)
            if given > limit:
                raise too_large()
            yield piece
            rest = inflate.unused_data
    if encoding == "gzip" and received and not inflate.eof:
        raise Refused(400, "damaged_body", "the compressed data end early")


def _in_seconds(wait: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(wait))}


def application(
    folder: Path,
    tokens: Sequence[Token],
    pseudonym: Callable[[str], str],
    *,
    first: date,
    last: date | None = None,
    limits: Limits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """Return the ASGI application. `first` and `last` are the days of the pipeline: others would never be read.

    Raises:
        OSError: nothing can be written to `folder`.
    """
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    commits = GroupCommit(Folder(folder))
    collector = Collector(commits, tokens, pseudonym, limits or Limits(), first, last, now)

    @asynccontextmanager
    async def committing(_: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(commits.run())
        yield
        commits.close()
        await running

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        _LOG.warning("refused a request: %d %s", error.status, error.reason)
        return JSONResponse(
            {"reason": error.reason, "detail": error.detail}, status_code=error.status, headers=error.headers
        )

    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    return Starlette(
        routes=[
            Route("/events", partial(collector.receive, native), methods=["POST"]),
            Route("/continue", partial(collector.receive, continue_dev), methods=["POST"]),
            Route("/healthz", collector.health, methods=["GET"]),
        ],
        exception_handlers={Refused: refused, ClientDisconnect: left},
        lifespan=committing,
    )


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; then take no more connections and finish the requests that run."""
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        lifespan="on",
        ws="none",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
