"""Losses before and after all tokens from one position on were changed, as inline SVG.

Before that position both lines must lie on one another; bars below say how far a charge moved.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from auditor.report.curves_svg import LEFT, MOST_NATS, RIGHT, TOP, WIDTH, picture, text, ticks

HEIGHT, PLOT, STRIP = 300, 190, 212
"""Of the picture; where the losses end, and where the bars begin."""
BAR = 40
SMALLEST = 1e-9
"""Nats that a bar begins at, on a logarithmic scale; a move may be a last bit."""


def moves_svg(found: Mapping[str, Any], *, ident: str, title: str) -> Markup | None:
    """Mean losses of stretches of the stream in both runs, and their largest moves."""
    stretches = [one for one in found.get("stretches", ()) if all(map(math.isfinite, one))]
    values = [value for _, before, after, _ in stretches for value in (before, after)]
    if not stretches or not all(abs(value) < MOST_NATS for value in values):
        return None
    most = float(max(stop for stop, *_ in stretches))
    position = int(found["position"])
    room = 0.08 * (max(values) - min(values)) or 0.1
    low, high = float(min(values) - room), float(max(values) + room)

    def x(at: float) -> float:
        return LEFT + min(at / most, 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return PLOT - (value - low) / (high - low) * (PLOT - TOP)

    parts = []
    for value in ticks(low, high):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 8, y(value) + 4, "end", "tick", f"{value:,.6g}"))
    parts += [
        text(x(value), HEIGHT - 26, "middle", "tick", f"{value:,.6g}") for value in ticks(0, most)
    ]
    for number, name in enumerate(("as it was", "with the end changed")):
        line = "L".join(f"{x(one[0]):.1f} {y(one[1 + number]):.1f}" for one in stretches)
        parts.append(f'<path class="curve curve-{number}" d="M{line}"/>')
        parts.append(text(LEFT + 90 + 90 * number, 16, "start", f"name-{number}", name))
    begins = 0
    for stop, _, _, largest in stretches:
        if largest > 0 and stop <= position:
            scale = math.log10(10 / SMALLEST)
            height = BAR * min(max(math.log10(largest / SMALLEST) / scale, 0.05), 1.0)
            width = max(x(stop) - x(begins), 1.0)
            parts.append(
                f'<path class="bar over" d="M{x(begins):.1f} {STRIP + BAR - height:.1f}'
                f'h{width:.1f}v{height:.1f}h-{width:.1f}z"/>'
            )
        begins = stop
    parts.append(f'<path class="axis" d="M{LEFT} {STRIP + BAR}H{WIDTH - RIGHT}"/>')
    parts.append(text(LEFT - 8, STRIP + BAR, "end", "tick", f"{SMALLEST:g}"))
    parts.append(text(LEFT - 8, STRIP + 12, "end", "tick", "10"))
    parts.append(f'<path class="limit" d="M{x(position):.1f} {TOP}V{STRIP + BAR}"/>')
    note = f"changed from {position:,} on"
    parts.append(text(x(position) + 6, TOP + 12, "start", "limit-note", note))
    parts.append(text(4, 16, "start", "label", "nats a token"))
    end = "position; bars: largest move of an earlier charge, nats"
    parts.append(text(WIDTH - RIGHT, HEIGHT - 6, "end", "label", end))
    said = (
        f"{found['moved']:,} of {found['compared']:,} charges before position {position:,} moved, "
        f"by at most {found['largest_nats']:.3g} nats."
    )
    return picture(parts, HEIGHT, ident, title, said)
