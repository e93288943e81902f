"""From recorded events to the order of charges, cache writes and optimiser steps of one stage."""

import math
import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure
from auditor.evidence import Timeline, TimelineEvent
from auditor.run.align import Aligner
from auditor.run.record import Look, Record, Score, Site, Values, Write

EXACT = 6
"""Decimals of a score that charges which only add up in part must give."""
MOST_VALUES = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """The stretch of a run that ends in one printed score."""

    score: Score
    begins: int
    """First event of the stage."""


@dataclass(frozen=True, slots=True)
class Charges:
    """What was charged where in one stage."""

    order_N: NDArray[np.int64]
    position_N: NDArray[np.int64]
    nats_N: NDArray[np.float64]
    """Empty when no recorded values add up to the printed score."""
    site: Site | None
    values: tuple[str, Site | None] = ("", None)
    """Kind and place of the values that are the charges."""
    value_order_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Event that each charge was seen in."""
    means: Mapping[str, float] = field(default_factory=dict)
    """Place -> mean of the values that were added up there, one a token that is not masked."""
    uncounted_order_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    uncounted_position_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Charges before the last of their position, where the printed score has only the last ones."""

    @property
    def first_order(self) -> int:
        """The event of the first charge, counted or not."""
        return int(np.concatenate((self.uncounted_order_N, self.order_N)).min())

    def add_up(self, score: Score, at_least_nats: float = 0.0) -> bool:
        """Whether the nats give a printed score, to its decimals or so many nats a token."""
        if not len(self.nats_N):
            return False
        off = abs(math.fsum(self.nats_N) / len(self.nats_N) - score.val_loss)
        return off <= max(10.0**-score.decimals, at_least_nats)

    def last_of_each(self) -> "Charges":
        """The same where a later charge of a position takes the place of an earlier one."""
        _, from_the_end = np.unique(self.position_N[::-1], return_index=True)
        last_N = np.zeros(len(self.position_N), dtype=bool)
        last_N[len(last_N) - 1 - from_the_end] = True
        return replace(
            self,
            order_N=self.order_N[last_N],
            position_N=self.position_N[last_N],
            nats_N=self.nats_N[last_N],
            value_order_N=self.value_order_N[last_N],
            uncounted_order_N=self.order_N[~last_N],
            uncounted_position_N=self.position_N[~last_N],
        )


def stages(record: Record) -> list[Stage]:
    """Stages of evaluation in order; of lines that repeat a score the one with most digits."""
    found: list[Stage] = []
    begins = 0
    looked = [look.order for look in record.looks]
    for score in record.scores:
        if any(begins <= order < score.order for order in looked):
            found.append(Stage(score, begins))
        elif found and score.repeats(found[-1].score):
            found[-1] = Stage(score, found[-1].begins)
        begins = score.order
    return [stage for stage in found if not stage.score.is_step]


def plain_label(label: str) -> str:
    """A label without numbers and without the word for its exact form: `final_int_ttt`."""
    return re.sub(r"\d+", "", label.strip().lower()).removesuffix("_exact").strip(" :_")


def charges(record: Record, stage: Stage, aligner: Aligner) -> Charges:
    """Positions charged in a stage and, when they can be identified, the nats of each."""
    looks = [look for look in record.looks if stage.begins <= look.order < stage.score.order]
    by_site: dict[Site | None, list[Look]] = defaultdict(list)
    for look in looks:
        by_site[look.site].append(look)
    found: list[Charges] = []
    for site, group in by_site.items():
        for values in _values(record, stage, [sum(map(len, look.rows)) for look in group]):
            placed = _place(group, aligner, values.pop("masked_N", None))
            if placed is not None:
                found.append(Charges(*placed, site=site, **values))
    if not found:
        raise CannotMeasure(
            f"{stage.score.label}: no look-up of the byte table by tokens of the validation stream "
            "was seen, so what was charged is not known"
        )
    passes = [one for one in found if len(one.nats_N)] if stage.score.decimals >= EXACT else []
    for one in (*found, *(one.last_of_each() for one in passes)):
        if one.add_up(stage.score):
            return one
    return found[0]


def _place(
    group: list[Look], aligner: Aligner, masked_N: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Order and position of every token that one place in the code looked up.

    What is masked is not charged: the context of a window, and what fills it up at its end.
    """
    orders, positions = [], []
    expected, seen = 1, 0
    for look in group:
        for row in look.rows:
            charged = np.ones(len(row), dtype=bool)
            if masked_N is not None:
                charged = ~masked_N[seen : seen + len(row)]
                seen += len(row)
            filled = int(charged.nonzero()[0].max(initial=-1)) + 1
            spans = aligner.spans(row[:filled], expected)
            if spans is None:
                return None
            if not filled:
                continue
            row_positions = np.concatenate([np.arange(start, stop) for start, stop in spans])
            positions.append(row_positions[charged[:filled]])
            orders.append(np.full(len(positions[-1]), look.order))
            expected = spans[-1][1]
    if not positions:
        return None
    return np.concatenate(orders), np.concatenate(positions)


def _values(record: Record, stage: Stage, counts: list[int]) -> list[dict[str, Any]]:
    """The recorded values, element for element with the looks, that may add up to the printed loss.

    The likeliest first. Where those that are not exactly zero come closer to it, the others are
    masked (`masked_N`), and left out.
    """
    groups: dict[tuple[str, Site | None], list[Values]] = defaultdict(list)
    for values in record.values:
        if stage.begins <= values.order < stage.score.order:
            groups[values.kind, values.site].append(values)
    found: list[tuple[float, dict[str, Any]]] = []
    means: dict[str, float] = {}
    for key, group in groups.items():
        if [len(values.nats) for values in group] != counts:
            continue
        nats_N = np.concatenate([values.nats for values in group])
        if not (nats_N % 1).any():
            continue  # bytes, which are added up beside
        masked_N, said = nats_N == 0, stage.score.val_loss
        total = math.fsum(nats_N)
        mean, unmasked = total / len(nats_N), total / max(int((~masked_N).sum()), 1)
        masks = abs(unmasked - said) < abs(mean - said)
        mean = unmasked if masks else mean
        if (site := key[1]) is not None and math.isfinite(mean):
            means[f"{site[0]}:{site[1]}"] = mean
        if math.isfinite(mean):
            kept_N = ~masked_N if masks else np.ones(len(nats_N), dtype=bool)
            orders_N = np.repeat([values.order for values in group], counts)
            one = {"nats_N": nats_N[kept_N], "values": key, "value_order_N": orders_N[kept_N]}
            if masks:
                one["masked_N"] = masked_N
            found.append((abs(mean - said), one))
    likely = sorted(found, key=lambda one: one[0])[:MOST_VALUES]
    nothing: dict[str, Any] = {"nats_N": np.empty(0)}
    return [one | {"means": means} for one in [values for _, values in likely] or [nothing]]


def build_timeline(record: Record, stage: Stage, charged: Charges, aligner: Aligner) -> Timeline:
    """Everything that touched validation positions up to the end of the stage, in order."""
    events = [
        event
        for order, start, stop in (
            *_runs(charged.uncounted_order_N, charged.uncounted_position_N),
            *_runs(charged.order_N, charged.position_N),
        )
        for event in _placed("charge", order, [(start, stop)], charged.site)
    ]
    writes = [w for w in record.writes if stage.begins <= w.order < stage.score.order]
    written, unplaced_writes = _cache_writes(writes, charged, aligner)
    stepped, unplaced_steps = _steps(record, stage, charged, aligner)
    looked_N = np.concatenate((charged.uncounted_position_N, charged.position_N))
    positions, counts = np.unique(looked_N, return_counts=True)
    again = positions[counts > 1]
    return Timeline(
        stage=stage.score.label,
        tokens=aligner.length,
        events=tuple(_merged(sorted(events + written + stepped, key=lambda event: event.order))),
        charged_nats=math.fsum(charged.nats_N),
        printed_nats=stage.score.val_loss * len(charged.position_N),
        charged_positions=len(positions),
        charged_again=len(looked_N) - len(positions),
        first_again=int(again[0]) if len(again) else None,
        again_after_update=_again_after_update(events + written + stepped, aligner.length),
        entries_before=_entries_before(writes, charged),
        unplaced=unplaced_writes + unplaced_steps,
        uncounted=len(charged.uncounted_position_N),
    )


def _again_after_update(events: list[TimelineEvent], length: int) -> int:
    """Charges of positions that were charged before and touched by an update since."""
    charged, updated = np.zeros(length, dtype=bool), np.zeros(length, dtype=bool)
    found = 0
    for event in sorted(events, key=lambda event: event.order):
        span = slice(event.start, event.stop)
        if event.kind == "charge":
            found += int((charged[span] & updated[span]).sum())
            charged[span] = True
        else:
            updated[span] |= charged[span]
    return found


def _cache_writes(
    writes: list[Write], charged: Charges, aligner: Aligner
) -> tuple[list[TimelineEvent], int]:
    """Writes with the positions of their tokens, and how many have none.

    Tokens from elsewhere before the first charge are a prefill; what it left in the tables is
    counted as entries before the first write.
    """
    events: list[TimelineEvent] = []
    unplaced = 0
    first_charge = charged.first_order
    for write in writes:
        # The first that fits: the recorder sends the likeliest first.
        spans = next(filter(None, (aligner.spans(tokens) for tokens in write.reach)), None)
        if spans is None:
            unplaced += write.order > first_charge
            continue
        events += _placed("cache-write", write.order, spans, write.site)
    return events, unplaced


def _entries_before(writes: list[Write], charged: Charges) -> int:
    """What the tables held before the stage first wrote to them, once it had begun to charge.

    Only tables of the first update count, the writes up to the next charge: a cache that grows by
    moving to a larger table writes to it for the first time when it is full already.
    """
    during = [write for write in writes if write.order > charged.first_order]
    if not during:
        return 0
    later = charged.order_N[charged.order_N > during[0].order]
    update_ends = later.min() if len(later) else math.inf
    before: dict[int, float] = {}
    for write in during:
        if write.order < update_ends:
            before.setdefault(write.table, write.before)
    return round(sum(before.values()))


def _steps(
    record: Record, stage: Stage, charged: Charges, aligner: Aligner
) -> tuple[list[TimelineEvent], int]:
    """Optimiser steps with the validation tokens that their losses were taken on.

    Steps before the stage count too: learning from a token in an earlier stage is learning before
    its charge. Training on training shards is not in the stream and so not here; losses on other
    tokens between the charges are counted as missed.
    """
    events: list[TimelineEvent] = []
    missed = 0
    first_charge = charged.first_order
    learns = deque(record.learns)
    for step in record.steps:
        if step.order >= stage.score.order:
            break
        while learns and learns[0].order < step.order:
            learn = learns.popleft()
            spans = aligner.spans(learn.tokens)
            if spans is None:
                missed += learn.order > first_charge
                continue
            events += _placed("optimizer-step", step.order, spans, step.site or learn.site)
    return events, missed


def _runs(order_N: NDArray[np.int64], position_N: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Charges as (order, start, stop), one a contiguous run of one event."""
    if not len(order_N):
        return []
    breaks = np.flatnonzero((np.diff(position_N) != 1) | (np.diff(order_N) != 0)) + 1
    starts = np.concatenate(([0], breaks))
    stops = np.concatenate((breaks, [len(position_N)]))
    return [
        (int(order_N[a]), int(position_N[a]), int(position_N[b - 1]) + 1)
        for a, b in zip(starts, stops, strict=True)
    ]


def _merged(events: list[TimelineEvent]) -> list[TimelineEvent]:
    """Events that continue the one before them, from the same place, become one.

    A charge that follows a charge changes nothing about what was known when; neither does a write
    of neighbouring tokens, or of the same tokens into the table of the next order. A position
    charged twice is counted before events are merged.
    """
    merged: list[TimelineEvent] = []
    for event in events:
        last = merged[-1] if merged else None
        if last is None or (last.kind, last.file, last.line) != (
            event.kind,
            event.file,
            event.line,
        ):
            merged.append(event)
        elif last.stop == event.start:
            merged[-1] = replace(last, stop=event.stop)
        elif (last.start, last.stop) != (event.start, event.stop):
            merged.append(event)
    return merged


def _placed(
    kind: str, order: int, spans: list[tuple[int, int]], site: Site | None
) -> list[TimelineEvent]:
    """One event a stretch of the stream."""
    file, line = (site[0], site[1]) if site else (None, None)
    return [
        TimelineEvent(kind=kind, order=order, start=start, stop=stop, file=file, line=line)
        for start, stop in spans
    ]
