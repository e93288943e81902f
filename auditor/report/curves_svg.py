"""Two pictures of proof as inline SVG: nats won against a source, and Kraft sums.

Both have one line that no valid submission crosses: 10^-9 of luck, and a sum of one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from auditor.report.words import clean

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 92, 14, 30, 44
ROW = 34
MOST_SUMS = 24
MOST_NATS = 1e15
"""More than any stream costs: a stored verdict can hold any number, and no scale fits all."""


def gain_svg(
    bounds: Sequence[Mapping[str, Any]], limit_nats: float, *, ident: str, title: str
) -> Markup | None:
    """Nats won by the score so far, over the tokens charged, a line a source; None without any."""
    curves = [(clean(one["source"], 20), one["curve"]) for one in bounds if one["curve"]]
    points = [point for _, curve in curves for point in curve]
    if not points or not all(tokens > 0 and abs(nats) < MOST_NATS for tokens, nats in points):
        return None
    most: int = max(tokens for tokens, _ in points)
    heights: list[float] = [nats for _, nats in points] + [0.0, limit_nats]
    room = 0.06 * (max(heights) - min(heights))
    low, high = min(heights) - room, max(heights) + room

    def x(tokens: float) -> float:
        return LEFT + tokens / most * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    parts = []
    for value in ticks(low, high):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 8, y(value) + 4, "end", "tick", f"{value:,.6g}"))
    parts += [
        text(x(value), HEIGHT - BOTTOM + 18, "middle", "tick", f"{value:,.6g}")
        for value in ticks(0, most)
    ]
    parts.append(f'<path class="limit" d="M{LEFT} {y(limit_nats):.1f}H{WIDTH - RIGHT}"/>')
    note = f"10⁻⁹: {limit_nats:.1f} nats"
    parts.append(text(LEFT + 6, y(limit_nats) - 5, "start", "limit-note", note))
    for number, (name, curve) in enumerate(curves):
        line = "".join(f"L{x(tokens):.1f} {y(nats):.1f}" for tokens, nats in curve)
        kind = f"curve curve-{min(number, 3)}"
        parts.append(f'<path class="{kind}" d="M{x(0):.1f} {y(0):.1f}{line}"/>')
        # Names stand apart along the line, because the ends of lines often meet.
        tokens, nats = curve[(len(curve) - 1) * (4 - min(number, 3)) // 4]
        parts.append(text(x(tokens) - 4, y(nats) - 6, "end", f"name-{min(number, 3)}", name))
    parts.append(text(LEFT, 16, "start", "label", "nats won against the source"))
    parts.append(text(WIDTH - RIGHT, HEIGHT - 6, "end", "label", "tokens charged"))
    said = "; ".join(f"{name} ends at {curve[-1][1]:,.1f} nats" for name, curve in curves)
    return picture(
        parts, HEIGHT, ident, title, f"{said}. A valid submission stays under the limit."
    )


def kraft_svg(sums: Sequence[Mapping[str, Any]], *, ident: str, title: str) -> Markup | None:
    """A bar for the sum at each position that is not in doubt, on a logarithmic scale."""
    sure = [one for one in sums if one["doubt"] is None and 0 < one["total"] < MOST_NATS][
        :MOST_SUMS
    ]
    if not sure:
        return None
    most = max([2.0, *(1.4 * one["total"] for one in sure)])
    least = min([0.5, *(0.7 * one["total"] for one in sure)])
    height = TOP + ROW * len(sure) + BOTTOM

    def x(total: float) -> float:
        share = math.log(total / least) / math.log(most / least)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    parts = []
    for row, one in enumerate(sure):
        top = TOP + row * ROW
        over = one["total"] > 1 + 1e-5
        kind = "bar over" if over else "bar"
        width = x(one["total"]) - LEFT
        parts.append(
            f'<path class="{kind}" d="M{LEFT} {top}h{width:.1f}v{ROW - 12}h-{width:.1f}z"/>'
        )
        parts.append(text(LEFT - 8, top + 16, "end", "tick", f"{one['position']:,}"))
        inside = width > (WIDTH - LEFT - RIGHT) / 2
        parts.append(
            text(
                x(one["total"]) + (-6 if inside else 6),
                top + 16,
                "end" if inside else "start",
                "inside" if inside else "value",
                f"{one['total']:,.6f}",
            )
        )
    bottom = height - BOTTOM + 4
    parts.append(f'<path class="limit" d="M{x(1):.1f} {TOP - 6}V{bottom}"/>')
    parts += [
        text(x(value), bottom + 16, "middle", "tick", f"{value:g}")
        for value in _powers(least, most)
    ]
    parts.append(text(4, 16, "start", "label", "position"))
    parts.append(
        text(WIDTH - RIGHT, height - 6, "end", "label", "probability of all tokens together")
    )
    said = "; ".join(f"position {one['position']:,}: {one['total']:,.6f}" for one in sure)
    return picture(parts, height, ident, title, f"{said}. One distribution has 1.")


def picture(parts: Iterable[str], height: int, ident: str, title: str, said: str) -> Markup:
    """Parts as one drawing with a title and a description."""
    head = (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc"><title id="{ident}-title">'
        f'{escape(title)}</title><desc id="{ident}-desc">{escape(said)}</desc>'
    )
    return Markup(head + "".join(parts) + "</svg>")  # every text in it went through escape


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between low and high."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.ceil(low / step)
    return [step * at for at in range(first, math.floor(high / step) + 1)]


def _powers(least: float, most: float) -> list[float]:
    """1 and powers of ten in the range."""
    first, last = math.ceil(math.log10(least)), math.floor(math.log10(most))
    return sorted({1.0, *(10.0**power for power in range(first, last + 1))})


def text(x: float, y: float, anchor: str, kind: str, said: str) -> str:
    """Words in a drawing."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
    )
