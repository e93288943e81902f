"""What a timeline shows: how far the charges had come at each event, and what ran ahead of them."""

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from auditor.report.words import clean

CLOSEUP = 160
"""Most events that a close-up shows: each is then about five pixels wide."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One event as it is drawn."""

    index: int
    """Index among the events of the stage: its place on the x axis."""
    kind: str
    start: int
    stop: int
    frontier: int
    """One past the highest position charged before this event."""
    ahead: tuple[tuple[int, int], ...]
    """Positions of a write or step that had not been charged; empty for what is in order."""
    again: bool
    """A charge of positions some of which had been charged before."""
    where: str | None
    """`file:line` of the submission's code, when it is known."""


def marks(timeline: Mapping[str, Any]) -> list[Mark]:
    """The events in order, each held against the charges that came before it."""
    events = sorted(timeline["events"], key=lambda event: event["order"])
    charged = _Charged()
    found = []
    for index, event in enumerate(events):
        start, stop = event["start"], max(event["start"], event["stop"])
        is_charge = event["kind"] == "charge"
        # Position 0 is given, never charged: to learn from it is to learn from nothing scored.
        missing = charged.missing(start if is_charge else max(start, 1), stop)
        whole = stop - start == sum(end - begin for begin, end in missing)
        found.append(
            Mark(
                index=index,
                kind=event["kind"],
                start=start,
                stop=stop,
                frontier=charged.frontier,
                ahead=() if is_charge else tuple(missing),
                again=is_charge and stop > start and not whole,
                where=_where(event),
            )
        )
        if is_charge:
            charged.add(start, stop)
    return found


def ahead_of_charges(found: Sequence[Mark]) -> list[Mark]:
    """The writes and steps that touched a position before it had been charged."""
    return [mark for mark in found if mark.ahead]


def describe(timeline: Mapping[str, Any], found: Sequence[Mark]) -> list[str]:
    """What the picture shows, in sentences; the first counts, the second judges order alone."""
    counts = Counter(mark.kind for mark in found)
    early, again = ahead_of_charges(found), sum(mark.again for mark in found)
    sentences = [
        f"{_count(len(found), 'event')} on a stream of {_count(timeline['tokens'], 'token')}: "
        f"{_count(counts['charge'], 'charge')}, {_count(counts['cache-write'], 'cache write')}, "
        f"{_count(counts['optimizer-step'], 'optimiser step')}."
    ]
    if early:
        sentences.append(
            f"{len(early):,} of the writes and steps touched positions that had not been charged "
            f"yet; the first is event {early[0].index:,}, {headline(early[0])}."
        )
    elif len(found) > counts["charge"]:
        sentences.append("No write or step that is drawn touched a position before its charge.")
    if again:
        sentences.append(
            f"{again:,} of the charges covered positions that had been charged before."
        )
    if timeline["unplaced"]:
        sentences.append(
            f"{timeline['unplaced']:,} more writes or steps are not drawn: the tokens they used "
            "could not be found in the stream."
        )
    return sentences


def headline(mark: Mark) -> str:
    """What ran ahead, where and by how much, in a few words."""
    article = "an" if mark.kind == "optimizer-step" else "a"
    return f"{article} " + ", ".join(particulars(mark))


def particulars(mark: Mark) -> list[str]:
    """The parts of the headline: what ran ahead, where, and by how much."""
    early = sum(stop - start for start, stop in mark.ahead)
    name = {"cache-write": "cache write", "optimizer-step": "optimiser step"}[mark.kind]
    where = [clean(mark.where, 80)] if mark.where else []
    return [name, *where, f"{_count(early, 'position')} too early"]


def closeup(found: Sequence[Mark]) -> tuple[int, int] | None:
    """Events worth enlarging: around the first violation, or the first two rounds of learning."""
    wrong = next((mark.index for mark in found if mark.ahead or mark.again), None)
    if wrong is not None:
        start = max(0, min(wrong - CLOSEUP // 2, len(found) - CLOSEUP))
        return (start, start + CLOSEUP) if len(found) > 2 * CLOSEUP else None
    learning = [mark.index for mark in found if mark.kind != "charge"]
    if not learning:
        return None
    ends = [one for one, two in pairwise([*learning, len(found) + 1]) if two != one + 1]
    start = max(0, learning[0] - CLOSEUP // 2)
    stop = min(ends[min(1, len(ends) - 1)] + 4, start + CLOSEUP)
    return (start, stop) if len(found) > 2 * (stop - start) else None


def _count(amount: int, thing: str) -> str:
    """So many of a thing, in the right number."""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}"


def _where(event: Mapping[str, Any]) -> str | None:
    """Where the submission's code stood."""
    if event["file"] is None:
        return None
    return f"{event['file']}:{event['line']}" if event["line"] is not None else str(event["file"])


class _Charged:
    """The set of charged positions, as disjoint intervals in order."""

    def __init__(self) -> None:
        """Nothing is charged yet."""
        self.frontier = 0
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Charge these positions; neighbours grow together."""
        if start >= stop:
            return
        low = bisect.bisect_left(self._stops, start)
        high = bisect.bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high], self._stops[low:high] = [start], [stop]
        self.frontier = max(self.frontier, stop)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of a range that are not charged."""
        parts = []
        at = start
        for index in range(bisect.bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop or at >= stop:
                break
            if self._starts[index] > at:
                parts.append((at, self._starts[index]))
            at = max(at, self._stops[index])
        if at < stop:
            parts.append((at, stop))
        return parts
