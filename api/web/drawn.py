"""Bodies that were drawn once: a verdict never changes, and drawing it takes most of a request."""

import threading
from collections.abc import Callable, Hashable

from cachetools import LRUCache

MOST_BYTES = 64 * 2**20
"""Of one process: some thousands of verdict pages."""


class Drawn:
    """The bodies that were asked for last. What a body depends on is its key, all of it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Start with none."""
        self._bodies: LRUCache[Hashable, bytes] = LRUCache(most_bytes, getsizeof=len)
        self._drawing: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def body(self, key: Hashable, draw: Callable[[], str]) -> bytes:
        """The body of this key; `draw` makes it when it is not there."""
        with self._lock:
            known = self._bodies.get(key)
            if known is not None:
                return known
            # Many ask for a new page at the same moment: one draws it, the others wait for that.
            mine = self._drawing.setdefault(key, threading.Lock())
        with mine:
            with self._lock:
                known = self._bodies.get(key)
            if known is None:
                known = draw().encode()
                with self._lock:
                    if len(known) <= self._bodies.maxsize:
                        self._bodies[key] = known
        with self._lock:
            self._drawing.pop(key, None)
        return known
