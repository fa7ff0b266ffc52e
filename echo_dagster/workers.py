"""Work whose loop is Python's, spread over processes: one for each processor, fed no faster than they work.

What does not live here: what is worked on (`extraction/shards.py`, `refinery/samples.py`), and work that runs outside
of Python's lock, for which threads do (`ahead.py`).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import Any, TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")

#: Items handed out beyond one for each process, so that none waits for its next one.
_WAITING = 2
#: An item is hundreds of thousands of objects without cycles: looking for some as often as usual costs a tenth.
_OBJECTS_PER_COLLECTION = 200_000
#: There is a process for each processor. Libraries read these when they are loaded.
_ONE_THREAD = {"POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

#: What the items of this process go through.
_work: Callable[[Any], Any]


def spread(
    begin: Callable[[], Callable[[Item], Done]], items: Iterable[Item], *, most: int
) -> Iterator[Done]:
    """Yield what becomes of each item, in the order of the items. Memory holds a few more of them than processors.

    Args:
        begin: makes a process ready and returns what is done with an item; it, items and results are pickled.
        items: taken as there is room for them.
        most: how many processes the items are worth: each takes a second or two to begin. One is this process.
    """
    workers = min(os.cpu_count() or 1, most)
    if workers < 2:
        yield from map(begin(), items)
        return
    # Fresh processes: a fork of one that runs threads, as Polars, DuckDB and Dagster do, can hang.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_begin, initargs=(begin,))
    is_done = False
    try:
        with _environment(**_ONE_THREAD), _without_main():  # begun all at once, by items that are nothing
            for _ in range(workers):
                pool.submit(int)
        left = iter(items)
        handed: deque[Future[Done]] = deque()
        handed.extend(pool.submit(_do, item) for item in islice(left, workers + _WAITING))
        while handed:
            done = handed.popleft().result()
            handed.extend(pool.submit(_do, item) for item in islice(left, 1))
            yield done
        is_done = True
    finally:  # nobody need wait for idle processes to end
        pool.shutdown(wait=not is_done, cancel_futures=True)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables for processes that begin here."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that begin here not run this one's script or main module again, as fresh ones do: nothing that is
    handed to them is defined there, and the one that `dagster` runs takes longer to import than many an item.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # as in an interactive session: there is no file
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin(begin: Callable[[], Callable[[Any], Any]]) -> None:
    """Make a new process ready for items."""
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    end_with_parent()
    global _work  # noqa: PLW0603  # a process of a pool has nowhere else to keep what it was begun with
    _work = begin()


def _do(item: Any) -> Any:
    return _work(item)


def end_with_parent() -> None:
    """End this process when the one that began it is gone: the workers of a pool would wait for ever for one killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
