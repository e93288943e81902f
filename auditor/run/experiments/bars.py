"""How far the runs are, several at a time, as one bar."""

import threading
from collections.abc import Callable

Bar = Callable[[float], None]
"""Called with the fraction of one run that is done; with 1 when it has ended."""
Bars = Callable[[str], Bar]
"""The bar of a run, by what it is made on or with."""


class Progressing:
    """One bar for all runs, which never goes back. It is itself the `Bars` that experiments get."""

    def __init__(self, progress: Callable[[str, float], None], runs: float) -> None:
        """About so many runs will be made."""
        self._progress = progress
        self._runs = runs
        self._running: dict[str, float] = {}
        self._ended = self._furthest = 0.0
        self._lock = threading.Lock()

    def __call__(self, doing: str) -> Bar:
        """The bar of one run."""

        def tell(done: float) -> None:
            with self._lock:
                if done < 1:
                    self._running[doing] = done
                elif self._running.pop(doing, None) is not None:
                    self._ended += 1
                behind = (self._ended + sum(self._running.values())) / self._runs
                self._furthest = max(self._furthest, min(behind, 0.99))
                if self._running:
                    self._progress(f"running {', '.join(self._running)}", self._furthest)

        return tell
