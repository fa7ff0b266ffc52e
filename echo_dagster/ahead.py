"""Making the next item in another thread while one is used: for iterators whose work is done outside of Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items in their order; memory holds one more than without. An exception comes in its place."""
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as thread:  # one, so that all of an iterator runs in the same thread
        following = thread.submit(next, source, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, source, end)
            yield item  # type: ignore[misc]  # it is not the end
