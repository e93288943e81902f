"""Gates in compiled helpers that ask for the kind of the token being predicted.

Helpers in C, C++ and CUDA are read as text for one shape: an element of the tokens is put into a
variable, a table of token kinds is looked up with that variable, and the answer is a condition
under which an entry of a mask is set for the same position.
"""

import re

from auditor.evidence import SourceLine, TargetGates
from auditor.submission import Submission

HELPERS = (".c", ".cc", ".cpp", ".cu")
MAX_LINES = 20_000
_TOKEN = re.compile(r"\b(\w+)\s*=\s*tokens_?\[(\w+)\]\s*;")
_KIND = re.compile(r"\b(\w+)\s*=\s*\w*(?:boundary|new_word|leading|space)\w*\[(\w+)\]\s*;")
_TEST = re.compile(r"\bif\s*\((.{1,300})\)\s*\{")
_SET = re.compile(r"\b(\w+)\[(\w+)\]\s*=\s*1U?\s*;")
REACH = 40
"""Lines from a condition to what is set under it."""


def read_target_gates(submission: Submission) -> TargetGates:
    """The lines that set a mask under such a condition, each with the line that took the token."""
    found = []
    for path, file in submission.files.items():
        if path.endswith(HELPERS):
            found += _of_file(path, file.text.splitlines()[:MAX_LINES])
    return TargetGates(lines=tuple(found))


def _of_file(path: str, lines: list[str]) -> list[SourceLine]:
    position: dict[str, str] = {}
    """Variable -> the position whose token it is."""
    kinds: dict[str, str] = {}
    """Variable -> the position whose token's kind it is."""
    test: tuple[int, set[str]] | None = None
    found = []
    for number, line in enumerate(lines, 1):
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
            text = lines[test[0] - 1].strip()[:200]
            found.append(SourceLine(file=path, line=test[0], text=text))
    return list(dict.fromkeys(found))
