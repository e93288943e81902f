"""Bars of progress on stderr, where that is a terminal.

Commands import this when they have something to show: a third of what `auditor --help` took went
into loading what draws.
"""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def passing_bar() -> Progress:
    """What one submission is at, by name, and for how long; gone when it is done."""
    return _bar(
        SpinnerColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        transient=True,
    )


def counting_bar() -> Progress:
    """How many of how many are done."""
    return _lasting_bar(MofNCompleteColumn())


def share_bar() -> Progress:
    """What share is done."""
    return _lasting_bar(TaskProgressColumn())


def _lasting_bar(done: ProgressColumn) -> Progress:
    return _bar(
        TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn(), transient=False
    )


def _bar(*columns: ProgressColumn, transient: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=transient, disable=not console.is_terminal)
