"""Words and numbers for people; everything that a submission wrote is made harmless here first."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

LIMIT = 1_000
"""Most characters of one piece of text that a report shows."""

GLYPHS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "not-applicable": "–"}
NAMES = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "not-applicable": "NOT APPLICABLE",
}

# CSI, OSC and the other escapes of ECMA-48, with their parameters, in 7-bit and 8-bit form.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def clean(value: object, limit: int = LIMIT) -> str:
    """The value as one line: escapes are dropped, invisible and reordering characters are shown."""
    raw = str(value)
    text = _ESCAPES.sub("", raw[: 4 * limit])
    shown = "".join(_visible(character) for character in text)
    cut = len(shown) > limit or len(raw) > 4 * limit
    return shown[: limit - 1] + "…" if cut else shown


def _visible(character: str) -> str:
    """The character, or its code point where it would be unseen or would move its neighbours."""
    if character in "\t\n\r\x0b\x0c\x85\u2028\u2029":
        return " "
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return f"\\u{{{ord(character):x}}}"
    return character


def place(location: Mapping[str, Any]) -> str:
    """`file:line`, the position, or both."""
    parts = []
    if location.get("file") is not None:
        line = location.get("line")
        parts.append(clean(location["file"]) + (f":{line}" if line is not None else ""))
    if location.get("position") is not None:
        parts.append(f"position {location['position']:,}")
    return ", ".join(parts) or "no place"


def said(result: Mapping[str, Any]) -> str:
    """What was seen: the reason, or the first finding and how many more there are."""
    findings: Sequence[Mapping[str, Any]] = result["findings"]
    if result["reason"] is not None and (result["outcome"] != "fail" or not findings):
        return clean(result["reason"])
    if not findings:
        return ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return clean(findings[0]["message"]) + more
