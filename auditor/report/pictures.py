"""Every picture of a verdict: inline for the page, or each as a file of its own."""

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from auditor.errors import ToolError
from auditor.report import timeline
from auditor.report.curves_svg import gain_svg, kraft_svg
from auditor.report.figures import fact
from auditor.report.moves_svg import moves_svg
from auditor.report.timeline_svg import timeline_svg
from auditor.report.words import folder
from auditor.rulesets import DEFAULT, RULESETS

DRAWN = re.compile(r"\.(?:timeline|future|charge|write|step|again|ahead)\b")
"""Selectors of the page's style that concern pictures."""
SCALE = 2.0
"""Pixels of a PNG for one of the drawing."""


def timelines(document: Mapping[str, Any], ident: str) -> dict[str, Any] | None:
    """The timeline drawn whole and, when it is dense, a part of it enlarged."""
    recorded = fact(document, "Timeline")
    if recorded is None:
        return None
    found = timeline.marks(recorded)
    said = timeline.describe(recorded, found)
    tokens = recorded["tokens"]
    window = timeline.closeup(found)
    name = f"Timeline of {folder(document)}"
    return {
        "stage": recorded["stage"],
        "said": said,
        "early": bool(timeline.ahead_of_charges(found)),
        "again": any(mark.again for mark in found),
        "whole": timeline_svg(
            found, tokens, ident=f"{ident}-whole", title=name, description=" ".join(said)
        ),
        "window": window,
        "part": window
        and timeline_svg(
            found,
            tokens,
            ident=f"{ident}-part",
            title=f"{name}, events {window[0]:,} to {window[1]:,}",
            description="A part of the timeline above, enlarged.",
            window=window,
        ),
    }


def gains(document: Mapping[str, Any], ident: str) -> Markup | None:
    """What was won against each source that the submission was scored on."""
    bound, others = fact(document, "NoiseBound"), fact(document, "OtherSources")
    bounds = [*([bound] if bound else []), *(others["bounds"] if others else ())]
    drawn = [one for one in bounds if one.get("curve")]  # older verdicts have none
    limit = RULESETS.get(document["ruleset"], DEFAULT).noise_nats
    title = f"Nats that {folder(document)} won"
    return gain_svg(drawn, limit, ident=f"{ident}-gains", title=title)


def sums(document: Mapping[str, Any], ident: str) -> Markup | None:
    """Kraft sums, where they were taken."""
    found = fact(document, "KraftSums")
    title = f"Kraft sums of {folder(document)}"
    return None if found is None else kraft_svg(found["sums"], ident=f"{ident}-sums", title=title)


def moves(document: Mapping[str, Any], ident: str) -> Markup | None:
    """Losses before and after the end was changed."""
    found = fact(document, "PrefixSensitivity")
    title = f"Losses of {folder(document)} with the end changed"
    return None if found is None else moves_svg(found, ident=f"{ident}-moves", title=title)


def svg_files(document: Mapping[str, Any]) -> dict[str, str]:
    """Name -> a whole SVG file, with its style inside, for each picture that there is."""
    drawn = timelines(document, "picture") or {}
    found = {
        "timeline": drawn.get("whole"),
        "timeline-part": drawn.get("part"),
        "nats-won": gains(document, "picture"),
        "kraft-sums": sums(document, "picture"),
        "end-changed": moves(document, "picture"),
    }
    return {name: _alone(str(svg)) for name, svg in found.items() if svg is not None}


def png(svg: str) -> bytes:
    """A picture as PNG; ToolError where the library for it is absent."""
    try:
        import resvg_py
    except ImportError as error:
        raise ToolError(
            "PNG needs the extra `pictures`; pip install 'strict-prefix[pictures]'"
        ) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=SCALE))


def _alone(svg: str) -> str:
    """The same drawing as a file: a size, its style, and paper under it."""
    width, height = re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0]
    head, rest = svg.split(">", 1)
    size = f' xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    # After title and description, which come first for who reads them aloud.
    title, drawing = rest.split("</desc>", 1)
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    return f"{head}{size}{title}</desc><style>{_style()}</style>{paper}{drawing}\n"


@functools.cache
def _style() -> str:
    """The page's style of pictures, in its light colours, with nothing that needs the page."""
    sheet = files("auditor.report").joinpath("templates/report.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", sheet.split("}", 1)[0]))
    flat = sheet.split("@media print")[0]
    rules = [
        f"{selector.strip()}{{{body.strip()}}}"
        for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", flat)
        if DRAWN.search(selector) and "width: 100%" not in body
    ]
    base = ".timeline{font: 12.5px 'DejaVu Sans', sans-serif} .paper{fill: var(--paper)}"
    style = " ".join([base, *rules])
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)
