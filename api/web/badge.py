"""A verdict as an SVG badge: one picture, no script, no font to load."""

from markupsafe import escape

from auditor.report.words import NAMES

COLOURS = {"pass": "#176b35", "fail": "#b3261e", "inconclusive": "#7a5200"}
CHARACTER_PIXELS = 6.6
"""Of the widest usual sans-serif at 11 pixels; the text is fitted to what it gets."""


def badge(outcome: str, claimed_bpb: float | None) -> str:
    """The outcome, and beside it the score that was claimed."""
    left = "strict prefix"
    claim = "" if claimed_bpb is None else f" · claims {claimed_bpb:.4f} bpb"
    right = NAMES[outcome] + claim
    widths = [round(len(text) * CHARACTER_PIXELS) + 12 for text in (left, right)]
    whole = sum(widths)
    name = escape(f"{left}: {right}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{name}"><title>{name}</title>'
        f'<rect width="{whole}" height="20" rx="3" fill="#444"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" rx="3" '
        f'fill="{COLOURS[outcome]}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="6" y="14" textLength="{widths[0] - 12}">{escape(left)}</text>'
        f'<text x="{widths[0] + 6}" y="14" textLength="{widths[1] - 12}">{escape(right)}</text>'
        "</g></svg>"
    )
