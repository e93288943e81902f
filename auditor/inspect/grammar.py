"""Source of Python 3.12 and later, put so that an older Python can parse it for reading.

From 3.12 on the expressions in an f-string may use its own quotes and backslashes. Here the quotes
of such a string become triple quotes of the kind that is not used inside, and backslashes in its
expressions become letters. What a reader sees keeps its lines; the values of strings inside the
expressions may change, and nobody executes the result.
"""

import re

MAX_NESTING = 20
_PREFIX = re.compile(r"(?<![\w])(?:[rR][fF]|[fF][rR]?)(?='|\")")
_PLAIN = re.compile(r"(?<![\w])(?:[rRbBuU]{0,2})(?='|\")")


class NotThisGrammar(Exception):  # noqa: N818 - an answer: leave the text as it is
    """An f-string that does not end, or is nested too deep."""


def lowered(source: str) -> str:
    """Return the source with its f-strings in the older grammar; NotThisGrammar if it cannot be."""
    out, place = [], 0
    while place < len(source):
        letter = source[place]
        if letter == "#":
            end = _line_end(source, place)
            out.append(source[place:end])
        elif match := _PREFIX.match(source, place):
            text, end = _f_string(source, match.end(), 0)
            out.append(match[0] + text)
        elif (match := _PLAIN.match(source, place)) or letter in "'\"":
            start = match.end() if match else place
            end = _string_end(source, start)
            out.append(source[place:end])
        else:
            end = place + 1
            out.append(letter)
        place = end
    return "".join(out)


def _line_end(source: str, place: int) -> int:
    end = source.find("\n", place)
    return len(source) if end < 0 else end


def _quote_at(source: str, place: int) -> str:
    triple = source[place : place + 3]
    return triple if triple in ("'''", '"""') else source[place : place + 1]


def _string_end(source: str, place: int) -> int:
    """Return where the plain string ends whose quote stands at `place`."""
    quote = _quote_at(source, place)
    place += len(quote)
    while place < len(source):
        if source[place] == "\\":
            place += 2
        elif source.startswith(quote, place):
            return place + len(quote)
        elif source[place] == "\n" and len(quote) == 1:
            break
        else:
            place += 1
    raise NotThisGrammar


def _f_string(source: str, place: int, depth: int) -> tuple[str, int]:
    """Return the f-string whose quote stands at `place`, put in the older grammar, and its end."""
    if depth > MAX_NESTING:
        raise NotThisGrammar
    quote = _quote_at(source, place)
    place += len(quote)
    parts, expressions = [], []
    while not source.startswith(quote, place):
        if place >= len(source) or (source[place] == "\n" and len(quote) == 1):
            raise NotThisGrammar
        if source[place] == "\\":
            parts.append(source[place : place + 2])
            place += 2
        elif source[place] == "{" and source[place + 1 : place + 2] != "{":
            text, place = _expression(source, place, depth)
            parts.append(text)
            expressions.append(text)
        else:
            width = 2 if source[place] in "{}" else 1
            parts.append(source[place : place + width])
            place += width
    return _quoted(quote, "".join(parts), "".join(expressions)), place + len(quote)


def _quoted(quote: str, body: str, expressions: str) -> str:
    """Return the body in quotes that its expressions do not use."""
    if quote not in expressions and "\n" not in expressions:
        return quote + body + quote
    for triple in ("'''", '"""'):
        if triple not in body:
            end = body[-1:]
            # The last letter must not join the quotes, so a quote there is escaped.
            closed = body[:-1] + "\\" + end if end == triple[0] and end else body
            return triple + closed + triple
    raise NotThisGrammar


def _expression(source: str, place: int, depth: int) -> tuple[str, int]:
    """Return a replacement field from its brace on, and its end; format specifications nest."""
    out, opened = ["{"], 1
    place += 1
    while opened:
        if place >= len(source):
            raise NotThisGrammar
        letter = source[place]
        if match := _PREFIX.match(source, place):
            text, place = _f_string(source, match.end(), depth + 1)
            out.append(match[0] + text)
            continue
        if letter in "'\"":
            end = _string_end(source, place)
            out.append(source[place:end].replace("\\", "_"))
            place = end
            continue
        if letter == "#":
            place = _line_end(source, place)
            continue
        opened += (letter in "{[(") - (letter in "}])")
        out.append("_" if letter == "\\" else letter)
        place += 1
    return "".join(out), place
