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
        self._lock = threading.Lock()

    def body(self, key: Hashable, draw: Callable[[], str]) -> bytes:
        """The body of this key; `draw` makes it when it is not there."""
        with self._lock:
            known = self._bodies.get(key)
        if known is None:
            # Outside of the lock: who asks for another body does not wait for this one.
            known = draw().encode()
            with self._lock:
                if len(known) <= self._bodies.maxsize:
                    self._bodies[key] = known
        return known
