"""The run log: what a run prints, kept so that a record can ship it."""

import sys

from reference_impl.device import rank


class RunLog:
    """Prints each line at once and remembers it."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Print one line, unless another process prints it."""
        if rank():
            return
        self.lines.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
