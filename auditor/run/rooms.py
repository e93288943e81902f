"""Runs of a script at the same time: how many there may be, and an end to all of them.

Runs that need nothing of one another are begun together, each in a sandbox of its own and on one
core; what they give is taken up in the order in which it was asked for, so nothing that is found
depends on which ended first.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from auditor.errors import CannotMeasure

T = TypeVar("T")
MOST = 4
"""No audit has more runs that are worth beginning at the same time."""


def rooms_here(run_bytes: int) -> int:
    """Runs of so much memory that this machine can carry at the same time, 1 to 4."""
    own = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(own(0)) if own else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(MOST, cores, memory // run_bytes))


class Rooms:
    """Where runs are made. Leaving it early, by whatever exception, ends those that are not done.

    With one room, what is asked for is done at once and in the thread that asks.
    """

    def __init__(self, count: int) -> None:
        """So many runs at the same time."""
        self.count = count
        self._free = threading.BoundedSemaphore(count)
        self._ends: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(4 * MOST, "runs") if count > 1 else None
        self._asked: list[tuple[float, Future[Any]]] = []

    def __enter__(self) -> "Rooms":
        """Nothing is begun yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs, and wait until it has ended."""
        with self._lock:
            self._closed = True
            ends = list(self._ends)
        for end in ends:
            end()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    @contextlib.contextmanager
    def one(self) -> Iterator[Callable[[Callable[[], None]], None]]:
        """Wait for a room; what is yielded takes the function that ends the run in it.

        Raises CannotMeasure when the audit is over before there is one.
        """
        mine: list[Callable[[], None]] = []

        def begun(end: Callable[[], None]) -> None:
            with self._lock:
                mine.append(end)
                self._ends.add(end)
                closed = self._closed
            if closed:
                end()

        with self._free:
            if self._closed:
                raise CannotMeasure("the audit was ended before the script was run")
            try:
                yield begun
            finally:
                with self._lock:
                    self._ends.difference_update(mine)

    def start(self, runs: float, do: Callable[[], T]) -> "Future[T]":
        """Begin what takes so many runs; what it raises is raised by the future's result."""
        future: Future[T]
        if self._threads is not None:
            future = self._threads.submit(do)
        else:
            future = Future()
            try:
                future.set_result(do())
            except CannotMeasure as why:
                future.set_exception(why)
        self._asked.append((runs, future))
        return future

    def each(
        self, do: Callable[..., T], items: Iterable[tuple[object, ...]]
    ) -> Iterator["Future[T]"]:
        """What `do` gives for each; with one room, each is begun when it is asked for.

        Counted among what waits by whoever asks.
        """
        begun = (self.start(0, partial(do, *item)) for item in items)
        return iter(begun if self._threads is None else list(begun))

    def waiting_runs(self) -> float:
        """Of all that was begun and is not done."""
        return sum(runs for runs, future in self._asked if not future.done())
