"""Words and numbers for people; everything that a submission wrote is made harmless here first."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

LIMIT = 1_000
"""Most characters of one piece of text that a report shows."""

NAMES = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "not-applicable": "NOT APPLICABLE",
}

# Whole control sequences of ECMA-48 (colours, cursor moves, window titles), 7-bit and 8-bit. What
# is not whole stays, as visible code points: a sequence without an end must not swallow our words.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,256}(?:\x07|\x1b\\|\x9c)"
)
# What a runner of GitHub's takes for a command in printed text: `::error::`, `##[group]`.
_COMMANDS = re.compile(r"::(?=[\w-]{1,40}(?: [^\n]{0,400}?)?::)|##(?=\[)")
_SPACES = "\t\n\r\x0b\x0c\x85\u2028\u2029"
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def clean(value: object, limit: int = LIMIT) -> str:
    """The value as one line that commands nothing.

    Escapes are dropped; invisible and reordering characters, and commands to CI, are shown.
    """
    raw = str(value)
    text = _ESCAPES.sub("", raw[: 4 * limit])
    text = _COMMANDS.sub(lambda found: f"\\u{{{ord(found[0][0]):x}}}{found[0][1]}", text)
    shown = "".join(_visible(character) for character in text[: limit + 1])
    cut = len(shown) > limit or len(raw) > 4 * limit
    return shown[: limit - 1] + "…" if cut else shown


def _visible(character: str) -> str:
    """The character, or its code point where it would be unseen or would move its neighbours."""
    if character in _SPACES:
        return " "
    if unicodedata.category(character) in _UNSEEN:
        return f"\\u{{{ord(character):x}}}"
    return character


def number(value: object) -> str:
    """A figure with separators; more digits before the point leave fewer after it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**18 else f"{value:.6e}"
    if value == 0 or 1e-4 <= abs(value) < 1_000:
        return f"{value:.8g}"
    return f"{value:,.1f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4e}"


def figure(name: str, value: object) -> str:
    """A figure as its name asks: seeds and line numbers are names, not amounts."""
    is_name = name in ("line", "seed", "order") or name.endswith(("_line", "_seed"))
    return clean(value) if is_name else number(value)


def place(location: Mapping[str, Any]) -> str:
    """`file:line`, the position, or both."""
    parts = []
    if location.get("file") is not None:
        line = location.get("line")
        parts.append(clean(location["file"]) + (f":{line}" if line is not None else ""))
    if location.get("position") is not None:
        parts.append(f"position {number(location['position'])}")
    return ", ".join(parts) or "no place"


def seen(result: Mapping[str, Any]) -> str:
    """What was seen: the reason, or the first finding and how many more there are."""
    findings: Sequence[Mapping[str, Any]] = result["findings"]
    if not findings or (result["reason"] is not None and result["outcome"] != "fail"):
        return clean(result["reason"]) if result["reason"] is not None else ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return clean(findings[0]["message"]) + more


def digest(document: Mapping[str, Any]) -> str:
    """The first twelve digits of the verdict's digest, enough to tell verdicts apart."""
    return clean(document["digest"])[:12]


def folder(document: Mapping[str, Any]) -> str:
    """The name that the submission goes by."""
    return clean(document["submission"]["folder"], 120)
