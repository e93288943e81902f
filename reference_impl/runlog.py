"""The run log: what a run prints, kept so that a record can ship it."""

import sys

from reference_impl.device import rank


class RunLog:
    """Prints each line at once, unless told not to, and remembers it."""

    def __init__(self, *, show: bool = True) -> None:
        """Start with nothing said."""
        self._show = show
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Note one line, unless another process does."""
        if rank():
            return
        self.lines.append(line)
        if self._show:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
