"""The timeline as inline SVG: what was charged when, and which writes and steps ran ahead of it.

x is the order of events, y the position in the stream. Charges climb; everything above them is
the future. Events share paths, merged by pixel, so that any run becomes a few hundred elements.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from auditor.report.timeline import Mark, ahead_of_charges, headline, particulars
from auditor.report.words import clean

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 14, 30, 44
COLUMN = 0.5
"""Events closer than this many pixels share a column of the drawing."""
CLUSTER = 6.0
"""Violations closer than this many pixels share a mark, so that at most 130 groups are drawn."""
FEWEST = 24
"""Events that the x axis has room for at least, so that a short run is not all bars."""
HATCHED = 2.0
"""Events narrower than this many pixels have no room for a hatching."""
LETTER, LINE = 7.2, 15
"""Pixels that a letter and a line of a label take."""
MOST_PIECES = 4
"""Separate spans kept in one column; more than that cannot be told apart and become one."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Panel:
    """The plot area and what it spans: events first to last, positions low to high."""

    first: int
    last: int
    low: int
    high: int
    end: float
    """Pixel of the end of the last event; left of the border when there are few."""

    @property
    def event(self) -> float:
        """Pixels that one event is wide."""
        return (WIDTH - LEFT - RIGHT) / (self.last - self.first)

    def x(self, index: float) -> float:
        """Pixel of the left edge of an event."""
        return LEFT + (index - self.first) * self.event

    def y(self, position: float) -> float:
        """Pixel of a position; the stream starts at the bottom."""
        inside = min(max(position, self.low), self.high)
        return (
            HEIGHT - BOTTOM - (inside - self.low) / (self.high - self.low) * (HEIGHT - BOTTOM - TOP)
        )


def timeline_svg(
    found: Sequence[Mark],
    tokens: int,
    *,
    ident: str,
    title: str,
    description: str,
    window: tuple[int, int] | None = None,
) -> Markup:
    """Draw all events, or those of a window enlarged; ident makes the ids of this drawing."""
    drawn = [m for m in found if window is None or window[0] <= m.index < window[1]]
    panel = _panel(drawn, tokens, whole=window is None)
    kinds = {
        "charge": [m for m in drawn if m.kind == "charge" and not m.again],
        "again": [m for m in drawn if m.again],
        "write": [m for m in drawn if m.kind == "cache-write"],
        "step": [m for m in drawn if m.kind == "optimizer-step"],
    }
    parts = [
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc">',
        f'<title id="{ident}-title">{escape(title)}</title>',
        f'<desc id="{ident}-desc">{escape(description)}</desc>',
        _patterns(ident),
        f'<path class="future" d="{_future(drawn, panel)}"/>',
        *_axes(panel),
    ]
    for name, some in kinds.items():
        if some:
            shape = _path(_columns(some, panel), panel)
            if name == "charge" or panel.event < HATCHED:
                parts.append(f'<path class="{name} thin" d="{shape}"/>')
            else:
                parts.append(f'<path class="{name}" fill="url(#{ident}-{name})" d="{shape}"/>')
    if len(drawn) >= FEWEST:
        note = "the future: not charged yet"
        parts.append(_note(LEFT + 10, TOP + 18, "start", "future-note", note))
    parts += _violations(drawn, panel)
    parts.append("</svg>")
    return Markup("".join(parts))  # every text in it went through escape


def _panel(drawn: Sequence[Mark], tokens: int, *, whole: bool) -> _Panel:
    """The plot area for these events."""
    first = drawn[0].index if drawn else 0
    last = max(first + len(drawn), first + FEWEST)
    end = LEFT + len(drawn) / (last - first) * (WIDTH - LEFT - RIGHT)
    if whole:
        return _Panel(first, last, 0, max([tokens, 1, *(m.stop for m in drawn)]), end)
    ends = [p for m in drawn if m.kind == "charge" for p in (m.start, m.stop)]
    ends += [p for m in drawn for span in m.ahead for p in span]
    ends = ends or [p for m in drawn for p in (m.start, m.stop)]
    low, high = min(ends, default=0), max(ends, default=1)
    room = max(1, (high - low) // 8)
    return _Panel(first, last, max(0, low - room // 4), high + room, end)


def _patterns(ident: str) -> str:
    """Hatchings, so that kinds differ without colour: diagonal, horizontal, crossed."""
    return (
        f'<defs><pattern id="{ident}-write" width="4" height="4" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="write-back" width="4" height="4"/>'
        '<path class="write-line" d="M1 0V4"/></pattern>'
        f'<pattern id="{ident}-step" width="4" height="4" patternUnits="userSpaceOnUse">'
        '<rect class="step-back" width="4" height="4"/><path class="step-line" d="M0 2H4"/>'
        f'</pattern><pattern id="{ident}-again" width="4" height="4" '
        'patternUnits="userSpaceOnUse"><rect class="again-back" width="4" height="4"/>'
        '<path class="again-line" d="M0 0L4 4M4 0L0 4"/></pattern></defs>'
    )


def _future(drawn: Sequence[Mark], panel: _Panel) -> str:
    """Outline of what lies above the charges, one step a column."""
    points: dict[int, tuple[float, float]] = {}
    for mark in drawn:
        reached = max(mark.frontier, mark.stop) if mark.kind == "charge" else mark.frontier
        x = panel.x(mark.index)
        points.setdefault(int(x / COLUMN), (x, 0.0))
        points[int(x / COLUMN)] = (points[int(x / COLUMN)][0], panel.y(reached))
    steps = "".join(f"L{x:.1f} {last:.1f}V{y:.1f}" for x, y, last in _with_last(points.values()))
    return f"M{LEFT} {TOP}{steps}H{panel.end:.1f}V{TOP}Z"


def _with_last(points: Iterable[tuple[float, float]]) -> Iterable[tuple[float, float, float]]:
    """Each point together with the height before it."""
    last: float = TOP
    for x, y in points:
        yield x, y, last
        last = y


def _columns(drawn: Sequence[Mark], panel: _Panel) -> dict[int, list[Span]]:
    """The touched pixels, top and bottom, by column."""
    columns: dict[int, list[Span]] = {}
    for mark in drawn:
        if mark.stop > panel.low and mark.start < panel.high:
            column = int(panel.x(mark.index) / COLUMN)
            span = (panel.y(mark.stop), panel.y(mark.start))
            columns.setdefault(column, []).append(span)
    return columns


def _path(columns: dict[int, list[Span]], panel: _Panel) -> str:
    """One path of rectangles, at least as large as can be seen."""
    width = max(panel.event - (1 if panel.event > 3 else 0), 1.2)
    shapes = []
    for column, spans in columns.items():
        for top, bottom in _merged(spans):
            height = max(bottom - top, 1.8)
            shapes.append(
                f"M{column * COLUMN:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"
            )
    return "".join(shapes)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch become one; too many become their hull."""
    merged: list[Span] = []
    for top, bottom in sorted(spans):
        if merged and top <= merged[-1][1] + COLUMN:
            merged[-1] = (merged[-1][0], max(merged[-1][1], bottom))
        else:
            merged.append((top, bottom))
    return merged if len(merged) <= MOST_PIECES else [(merged[0][0], merged[-1][1])]


def _violations(drawn: Sequence[Mark], panel: _Panel) -> list[str]:
    """A red mark for each group of writes and steps ahead of the charges; the first is named."""
    groups: dict[int, list[Mark]] = {}
    for mark in ahead_of_charges(drawn):
        groups.setdefault(int(panel.x(mark.index) / CLUSTER), []).append(mark)
    parts = []
    for group in groups.values():
        x = panel.x(group[0].index)
        width = max(panel.x(group[-1].index) + panel.event - x, 3.0)
        spans = [(panel.y(stop), panel.y(start)) for m in group for start, stop in m.ahead]
        more = f" (and {len(group) - 1:,} more here)" if len(group) > 1 else ""
        name = escape(f"event {group[0].index:,}: {headline(group[0])}{more}")
        for top, bottom in _merged(spans):
            grown = max(4.0 - (bottom - top), 0.0)
            parts.append(
                f'<rect class="ahead" x="{x:.1f}" y="{top - grown:.1f}" width="{width:.1f}" '
                f'height="{bottom - top + grown:.1f}"><title>{name}</title></rect>'
            )
    early = ahead_of_charges(drawn)
    again = [mark for mark in drawn if mark.again]
    if early:
        what, *rest = particulars(early[0])
        total = [] if len(early) == 1 else [f"{len(early):,} such events"]
        lines = [f"ahead of the charges: {what}", *rest, *total]
        parts.append(_callout(early[0], max(stop for _, stop in early[0].ahead), lines, panel))
    elif again:
        parts.append(_callout(again[0], again[0].stop, ["charged again"], panel))
    return parts


def _callout(mark: Mark, top: int, lines: Sequence[str], panel: _Panel) -> str:
    """A line from a mark to what it is, up and to the side that has more room."""
    x, y = panel.x(mark.index), panel.y(top)
    width = max(len(line) for line in lines) * LETTER
    left = x - LEFT > min(width + 30, WIDTH / 2)
    side, anchor = (-1, "end") if left else (1, "start")
    kind = "ahead-note" if mark.ahead else "again-note"
    last_y = min(max(y - 22, TOP + 24 + len(lines) * LINE), HEIGHT - BOTTOM - 30)
    # A short run leaves the right of the picture free: the label goes there, not on the bars.
    text_x = x + side * 24 if panel.end > WIDTH / 2 else panel.end + 24
    room = int((text_x - LEFT if side < 0 else WIDTH - text_x) / LETTER)
    notes = [
        _note(text_x, last_y - LINE * (len(lines) - 1 - at), anchor, kind, clean(line, room))
        for at, line in enumerate(lines)
    ]
    path = f"M{x:.1f} {y:.1f}L{text_x - side * 4:.1f} {last_y - 4:.1f}"
    return f'<path class="leader {kind}-leader" d="{path}"/>' + "".join(notes)


def _axes(panel: _Panel) -> list[str]:
    """Grid lines with their numbers, and what the axes mean."""
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for position in _ticks(panel.low, panel.high):
        y = panel.y(position)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(_note(LEFT - 8, y + 4, "end", "tick", f"{position:,}"))
    for index in _ticks(panel.first, panel.last):
        x = panel.x(index)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        parts.append(_note(x, bottom + 17, "middle", "tick", f"{index:,}"))
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    parts.append(_note(4, 14, "start", "label", "position in the validation stream (tokens)"))
    parts.append(
        _note(right, HEIGHT - 8, "end", "label", "events of the scored stage, in order (count)")
    )
    return parts


def _ticks(low: int, high: int) -> list[int]:
    """About six round numbers between low and high."""
    rough = max((high - low) / 6, 1.0)
    power = 10 ** math.floor(math.log10(rough))
    step = int(next(power * m for m in (1, 2, 5, 10) if power * m >= rough))
    return list(range(-(-low // step) * step, high + 1, step))


def _note(x: float, y: float, anchor: str, kind: str, text: str) -> str:
    """A piece of text in the drawing."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
