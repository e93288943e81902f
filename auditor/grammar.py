"""Source of Python 3.12 and later, put so that an older Python can parse and run it.

From 3.12 on the expressions in an f-string may use its own quotes, backslashes, comments and line
breaks. Where they do, the literals that stand side by side become one text with empty fields, and
the expressions become arguments of its `format`: `f'{a['b']!r:>{n}}'` is
`'{!r:>{}}'.format((a['b']),(n))`. Values and the order of evaluation stay, and so do line numbers
up to the literal.

Imports nothing of the auditor: a run has a copy of this file beside the recorder.
"""

import re
from dataclasses import dataclass

MAX_NESTING = 20
_PREFIX = re.compile(r"(?:(?<!\w)(?:[rR][fFbB]?|[fFbB][rR]?|[uU]))?(?='|\")")
_GAP = re.compile(r"(?:[ \t\f]|\\\r?\n)*")
_GAP_IN_BRACKETS = re.compile(r"(?:[ \t\f\r\n]|\\\r?\n|#[^\n]*\n)*")
_ESCAPED_BRACE = re.compile(r"\\(?:x7[bd]|17[35]|u007[bd]|U0000007[bd])", re.IGNORECASE)
_NAMED = re.compile(r"(\\N\{[^{}\n]{1,80}\})")


class NotThisGrammar(Exception):  # noqa: N818 - an answer: leave the text as it is
    """A string that does not end, is nested too deep, or cannot be put in the older grammar."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A replacement field of an f-string."""

    raw: str
    """Its expressions as they stand."""
    arguments: tuple[str, ...]
    """Its expressions in the older grammar, in the order in which they are evaluated."""
    empty: str
    """The field without them."""


@dataclass(frozen=True, slots=True)
class _Literal:
    """One string literal; only an f-string has fields."""

    prefix: str
    quote: str
    parts: tuple[str | _Field, ...]
    newer: bool
    """Whether a string inside one of its fields had to be lowered."""

    @property
    def fields(self) -> list[_Field]:
        return [part for part in self.parts if isinstance(part, _Field)]

    @property
    def is_newer(self) -> bool:
        """Whether an older Python cannot read it."""
        refused = {self.quote, "\\", "#"} | ({"\n"} if len(self.quote) == 1 else set())
        return self.newer or any(sign in field.raw for field in self.fields for sign in refused)

    def emptied(self) -> str:
        """The literal as a text for `format`."""
        body = "".join(
            part.empty if isinstance(part, _Field) else self._escaped(part) for part in self.parts
        )
        return self.prefix.replace("f", "").replace("F", "") + self.quote + body + self.quote

    def _escaped(self, text: str) -> str:
        """Text between fields; in an f-string its braces are doubled already."""
        raw = "r" in self.prefix.lower()
        if not raw and _ESCAPED_BRACE.search(text):
            raise NotThisGrammar
        if "f" in self.prefix.lower():
            return text
        pieces = [text] if raw else _NAMED.split(text)
        return "".join(
            piece if i % 2 else piece.replace("{", "{{").replace("}", "}}")
            for i, piece in enumerate(pieces)
        )


def lowered(source: str) -> str:
    """Return the source with its f-strings in the older grammar; NotThisGrammar if it cannot be."""
    text, _, _ = _code(source, 0, 0, "")
    return text


def _code(source: str, place: int, depth: int, stops: str) -> tuple[str, int, bool]:
    """Return code from `place` on in the older grammar, its end, and whether it was changed.

    It ends at a sign of `stops` outside brackets; without stops, at the end of the source.
    """
    out: list[str] = []
    opened, changed = 0, False
    while place < len(source):
        letter = source[place]
        if not opened and letter in stops and source[place : place + 2] != "!=":
            return "".join(out), place, changed
        if letter in "'\"rRbBuUfF" and (match := _PREFIX.match(source, place)):
            text, end = _group(source, match, depth, bool(opened or stops))
            changed |= text != source[place:end]
        elif letter == "#":
            end = _line_end(source, place)
            text = source[place:end]
        else:
            end, text = place + 1, letter
            opened += (letter in "{[(") - (letter in "}])")
        out.append(text)
        place = end
    if stops:
        raise NotThisGrammar
    return "".join(out), place, changed


def _line_end(source: str, place: int) -> int:
    end = source.find("\n", place)
    return len(source) if end < 0 else end


def _group(source: str, match: re.Match[str], depth: int, in_brackets: bool) -> tuple[str, int]:
    """Return the literals that stand side by side, in the older grammar, and where they end."""
    start, gaps = match.start(), []
    literals: list[_Literal] = []
    following: re.Match[str] | None = match
    end = start
    while following is not None:
        literal, end = _literal(source, following, depth)
        literals.append(literal)
        gap = (_GAP_IN_BRACKETS if in_brackets else _GAP).match(source, end)
        assert gap is not None
        gaps.append(gap[0])
        following = _PREFIX.match(source, gap.end())
    if not any(literal.is_newer for literal in literals):
        return source[start:end], end
    if any("b" in literal.prefix.lower() for literal in literals):
        raise NotThisGrammar
    gaps[-1] = ""
    text = "".join(one.emptied() + gap for one, gap in zip(literals, gaps, strict=True))
    arguments = [f"({a})" for one in literals for field in one.fields for a in field.arguments]
    return f"{text}.format({','.join(arguments)})", end


def _literal(source: str, match: re.Match[str], depth: int) -> tuple[_Literal, int]:
    """Return the literal whose prefix was matched, and where it ends."""
    if depth > MAX_NESTING:
        raise NotThisGrammar
    prefix, place = match[0], match.end()
    triple = source[place : place + 3]
    quote = triple if triple in ("'''", '"""') else source[place]
    place += len(quote)
    formatted, raw = "f" in prefix.lower(), "r" in prefix.lower()
    parts: list[str | _Field] = []
    text: list[str] = []
    newer = False
    while not source.startswith(quote, place):
        letter = source[place : place + 1]
        if not letter or (letter == "\n" and len(quote) == 1):
            raise NotThisGrammar
        width = 1
        if letter == "\\":
            named = None if raw else _NAMED.match(source, place)
            width = len(named[0]) if named else 2
        elif formatted and source[place : place + 2] in ("{{", "}}"):
            width = 2
        elif formatted and letter == "{":
            field, place, changed = _field(source, place, depth, nested=False)
            parts += ["".join(text), field]
            text, newer = [], newer or changed
            continue
        text.append(source[place : place + width])
        place += width
    return _Literal(prefix, quote, (*parts, "".join(text)), newer), place + len(quote)


def _field(source: str, place: int, depth: int, *, nested: bool) -> tuple[_Field, int, bool]:
    """Return the field whose brace stands at `place`, its end, and whether it had to be lowered."""
    start = place + 1
    expression, place, changed = _code(source, start, depth + 1, "!:}")
    raw = source[start:place]
    shown = conversion = specification = ""
    arguments: list[str] = []
    if re.search(r"[^=!<>]=\s*$", raw):
        # `{x=}` prints its own text.
        shown = raw.replace("{", "{{").replace("}", "}}")
        if "\\" in shown or "'" in shown or '"' in shown:
            raise NotThisGrammar
        expression = expression.rstrip().removesuffix("=")
        conversion = "!r" if source[place] == "}" else ""
    arguments.append(expression)
    if source[place] == "!":
        end = min(e for e in (source.find(s, place) for s in ":}") if e >= 0)
        conversion, place = source[place:end].strip(), end
    if source[place : place + 1] == ":":
        if nested:
            raise NotThisGrammar  # two levels are what `format` has
        specification, place = ":", place + 1
        while source[place : place + 1] != "}":
            if not source[place : place + 1]:
                raise NotThisGrammar
            if source[place] == "{":
                inner, place, again = _field(source, place, depth, nested=True)
                raw, changed = raw + inner.raw, changed or again
                arguments += inner.arguments
                specification += inner.empty
            else:
                specification += source[place]
                place += 1
    empty = shown + "{" + conversion + specification + "}"
    return _Field(raw, tuple(arguments), empty), place + 1, changed
