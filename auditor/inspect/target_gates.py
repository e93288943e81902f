"""Gates in compiled helpers that ask for the kind of the token being predicted.

Helpers in C, C++ and CUDA, as files or as long texts in a script, are read as text for two shapes.
In both an element of the tokens is put into a variable, and a table of token kinds is looked up
with that variable.

- The answer is a condition under which an entry of a mask is set for the same position.
- The answer is given to a function that sets what it gives back, or does not, by it; and a call
  after that learns the same token, which is how one knows that it was the one being predicted.

Kernels of triton are read for the first shape, which there is: a load of the token, a load of its
kind, and a store of the answer at the same position.
"""

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from auditor.evidence import SourceLine, TargetGates, WeighedGate
from auditor.inspect.source import Module
from auditor.submission import Submission

HELPERS = (".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".h", ".hpp")
MIN_INLINE, MAX_INLINE = 200, 50
"""Characters of a text in a script that may be a helper, and how many of them are read."""
MAX_LINES = 20_000
MAX_CHARACTERS = 200_000
MAX_BODY, MAX_FUNCTIONS = 20_000, 300
"""Helpers of this benchmark have some 20,000 characters, and a tenth of these functions."""
_ELEMENT = r"\b(\w+)\s*=\s*(?:\(\w+\)\s*|\w+\s*\(\s*)?tokens_?\[(\w+)\]\s*\)?\s*;"
_TOKEN = re.compile(_ELEMENT)
_TABLES = r"\w{0,40}(?:boundary|bnd|new_word|leading|space|has_ls)\w{0,40}"
_KIND = re.compile(rf"\b(\w+)\s*=\s*(?:\w+\s*&&\s*)?{_TABLES}\[(\w+)\]\s*;")
_TEST = re.compile(r"\bif\s*\((.{1,300})\)\s*\{")
_SET = re.compile(r"\b(\w+)\[(\w+)\]\s*=\s*1U?\s*;")
_LOADED = re.compile(r"\b(\w+)\s*=\s*tl\.load\(\s*\w{0,40}tok\w{0,40}\s*\+\s*(\w+)")
_KIND_LOADED = re.compile(rf"\b(\w+)\s*=\s*tl\.load\(\s*{_TABLES}\s*\+\s*(\w+)")
_STORED = re.compile(
    r"\btl\.store\(\s*\w{0,40}(?:valid|gate|mask|open)\w{0,40}\s*\+\s*(\w+)\s*,(.{1,300})\)"
)
MAX_GIVERS = 50
REACH = 40
"""Lines from a condition to what is set under it."""
_FUNCTION = re.compile(r"\b(\w+)\s*\(([^(){};]{1,600})\)\s*(?:const\s*)?\{")
_IF = re.compile(r"\bif\s*\(([^{};]{1,300})\)\s*(?:\{([^{}]{0,400})\}|([^{};]{1,200};))")
_LEARNS = re.compile(
    r"\b\w{0,40}(?:update|learn|insert|observe)\w{0,40}\s*\(([^(){};]{1,300})\)\s*;"
)
_LOCAL = re.compile(r"\b(?:int|double|float|auto|u?int\d+_t)\s+([^;={}()]{1,200});")
_WORD = re.compile(r"\w+")


def read_target_gates(submission: Submission, modules: Iterable[Module] = ()) -> TargetGates:
    """The lines that set a mask under such a condition, and the functions that give by it."""
    found: list[SourceLine] = []
    weighed: list[WeighedGate] = []
    for path, file in submission.files.items():
        if path.endswith(HELPERS):
            found += _masks(path, file.text[:MAX_CHARACTERS])
            weighed += _calls(path, file.text[:MAX_CHARACTERS])
    for module in modules:
        for node, text in islice(_inline(module), MAX_INLINE):
            # The lines of a text are those of the script, unless it writes them as escapes.
            for line in _masks(module.path, text):
                found.append(replace(line, line=_line_of(node, line.line)))
            for gate in _calls(module.path, text):
                weighed.append(replace(gate, line=_line_of(node, gate.line)))
        if any("triton" in line for line in module.lines):
            found += _stores(module)
    return TargetGates(lines=tuple(found), weighed=tuple(weighed))


def _inline(module: Module) -> Iterator[tuple[ast.Constant, str]]:
    """Texts that may be a helper's source."""
    for node in module.of(ast.Constant):
        text = node.value
        if isinstance(text, str) and MIN_INLINE <= len(text) <= MAX_CHARACTERS and "{" in text:
            yield node, text


def _line_of(node: ast.Constant, line: int) -> int:
    return min(node.lineno + line - 1, node.end_lineno or node.lineno)


def _stores(module: Module) -> list[SourceLine]:
    """Stores of a kernel into a mask, by the kind of the token at the same position."""
    position: dict[str, str] = {}
    kinds: dict[str, str] = {}
    found = []
    for number, text in enumerate(module.lines[:MAX_LINES], 1):
        line = text[:500].partition("#")[0]
        if "tl." not in line:
            continue
        if kind := _KIND_LOADED.search(line):
            kinds[kind[1]] = position.get(kind[2], "")
        elif token := _LOADED.search(line):
            position[token[1]] = token[2]
        elif put := _STORED.search(line):
            asked = {kinds[name] for name in _WORD.findall(put[2]) if name in kinds}
            if put[1] in asked:
                found.append(SourceLine(file=module.path, line=number, text=line.strip()[:200]))
    return found


def _masks(path: str, text: str) -> list[SourceLine]:
    lines = text.split("\n")[:MAX_LINES]
    position: dict[str, str] = {}
    """Variable -> the position whose token it is."""
    kinds: dict[str, str] = {}
    """Variable -> the position whose token's kind it is."""
    test: tuple[int, set[str]] | None = None
    found = []
    for number, line in enumerate(_without_comments(text).split("\n")[:MAX_LINES], 1):
        if len(line) > 500:
            continue
        if token := _TOKEN.search(line):
            position[token[1]] = token[2]
        if kind := _KIND.search(line):
            kinds[kind[1]] = position.get(kind[2], "")
        if condition := _TEST.search(line):
            asked = {kinds[name] for name in re.findall(r"\w+", condition[1]) if name in kinds}
            test = (number, asked) if asked else test
        if (put := _SET.search(line)) and test and number - test[0] <= REACH and put[2] in test[1]:
            asks = lines[test[0] - 1].strip()[:200]
            found.append(SourceLine(file=path, line=test[0], text=asks))
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Giver:
    """A function that sets what it gives back by some of its parameters."""

    asks: frozenset[int]
    """Which parameters decide whether it gives."""
    weights: tuple[str, ...]
    thresholds: tuple[str, ...]


def _calls(path: str, text: str) -> Iterator[WeighedGate]:
    """Calls of a giver with the kind of a token that is learnt later in the same function."""
    text = _without_comments(text)
    bodies = list(islice(_functions(text), MAX_FUNCTIONS))
    givers = {name: giver for name, params, _, body in bodies if (giver := _giver(params, body))}
    if not givers or len(givers) > MAX_GIVERS:
        return
    call = re.compile(rf"\b({'|'.join(map(re.escape, givers))})\s*\(([^(){{}};]{{1,300}})\)\s*;")
    begins = [0, *(found.end() for found in re.finditer("\n", text))]
    for _, _, start, body in bodies:
        tokens = {token[1] for token in _TOKEN.finditer(body)}
        kinds = {kind[1]: kind[2] for kind in _KIND.finditer(body) if kind[2] in tokens}
        learnt = [(found.start(), set(_WORD.findall(found[1]))) for found in _LEARNS.finditer(body)]
        for found in call.finditer(body) if kinds else ():
            giver = givers[found[1]]
            given = [argument.strip() for argument in found[2].split(",")]
            asked = {
                kinds[given[at]] for at in giver.asks if at < len(given) and given[at] in kinds
            }
            if any(at > found.start() and names & asked for at, names in learnt):
                line = bisect_right(begins, start + found.start())
                yield WeighedGate(
                    file=path,
                    line=line,
                    text=found[0][:200],
                    function=found[1],
                    weights=giver.weights,
                    thresholds=giver.thresholds,
                )


def _functions(text: str) -> Iterator[tuple[str, list[str], int, str]]:
    """Name, parameters, place and body of every function."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for found in re.finditer(r"[{}]", text):
        if found[0] == "{":
            opened.append(found.start())
        elif opened:
            ends[opened.pop()] = found.start()
    for found in _FUNCTION.finditer(text):
        begin = found.end() - 1
        if found[1] not in ("if", "for", "while", "switch", "catch") and begin in ends:
            params = [param.strip() for param in found[2].split(",")]
            yield found[1], params, begin, text[begin : min(ends[begin], begin + MAX_BODY)]


def _without_comments(text: str) -> str:
    """The same text with blanks for its comments, so that every line stays where it is."""
    kept: list[str] = []
    at = 0
    while (start := text.find("/*", at)) >= 0:
        end = text.find("*/", start + 2)
        end = len(text) if end < 0 else end + 2
        kept += [text[at:start], "\n" * text.count("\n", start, end)]
        at = end
    return re.sub(r"//[^\n]*", "", "".join([*kept, text[at:]]))


def _giver(params: list[str], body: str) -> _Giver | None:
    """What a function is, if a condition on a parameter decides what it gives back."""
    names = [(_WORD.findall(param) or [""])[-1] for param in params]
    back = {name for param, name in zip(params, names, strict=True) if "&" in param}
    asks: set[int] = set()
    thresholds: list[str] = []
    for test, block, single in _IF.findall(body):
        words = _WORD.findall(test)
        if back & set(re.findall(r"\b(\w+)\s*=(?!=)", block or single)):
            asks |= {names.index(word) for word in words if word in names and word not in back}
        thresholds += re.findall(r">=?\s*(\w+)", test)
    local = {word for found in _LOCAL.findall(body) for word in _WORD.findall(found)}
    weights = [
        word
        for name in sorted(back)
        for word in re.findall(rf"\b{re.escape(name)}\s*=\s*(\w+)\s*;", body)
        if word not in local
    ]
    if not asks or not weights:
        return None
    return _Giver(frozenset(asks), _settings(weights), _settings(thresholds))


def _settings(names: list[str]) -> tuple[str, ...]:
    """Names of settings as they are printed: members end in an underscore."""
    return tuple(dict.fromkeys(name.strip("_") for name in names if not name[:1].isdigit()))
