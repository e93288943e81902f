"""The run log: what a run prints, kept so that a record can ship it."""

import sys


class RunLog:
    """Prints each line at once and remembers it."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Print one line."""
        self.lines.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
