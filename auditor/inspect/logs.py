"""The numbers that run logs print.

Logs of this benchmark share a small grammar: one fact a line, `name:value` or `name=value`.
"""

import re
from collections.abc import Iterator

from auditor.evidence import LoggedNumbers, RunLog, ScoreLine
from auditor.inspect.run_facts import read_facts
from auditor.score_lines import read_score
from auditor.submission import Submission

MAX_LINE_CHARACTERS = 1_000
"""No fact of a log is longer; what is longer is a dump, and is skipped."""
MAX_LOG_CHARACTERS = 20_000_000
"""A run prints about one megabyte; what follows is not read."""
MAX_SCORES = 2_000
"""Of one log; the last ones are kept, because the final score is among them."""

_SEED = re.compile(r"(?:^|[\s.])seed\s{0,30}[:=]\s?(\d{1,10})\b", re.IGNORECASE)
_SEED_IN_NAME = re.compile(r"(?:seed|_s|/s)[_-]?(\d{1,10})(?!\d)", re.IGNORECASE)
_TOKENS = re.compile(r"^(?:val_loader:.*\btokens:|.*\bval_tokens[:=]\s?)(\d{1,12})\b")
_CODE = re.compile(r"^\s*Code size(?: \(compressed\))?\s?:\s*([\d,]{1,15}) bytes")
_MODEL = re.compile(r"^\s*Serialized model ([^:]{1,60}):\s*([\d,]{1,15}) bytes")
_TOTAL = re.compile(r"^\s*Total submission size([^:]{0,60}):\s*([\d,]{1,15}) bytes")
_ARTIFACT = re.compile(r"^\s*Artifact(?: size)?:\s*([\d,]{1,15}) bytes")
_SETTING = re.compile(r"^[ \t]{0,8}([a-z][a-z0-9_]{2,60}): ([^\s:=][^\n:=]{0,200})$", re.MULTILINE)
MAX_HEADER_CHARACTERS = 1_000_000
MIN_SETTINGS = 12
"""A run that prints its settings prints dozens; fewer such lines are something else."""
_SIGNS = ("bpb", "BPB", "seed", "Seed", "tokens", "bytes")


def read_logs(submission: Submission) -> LoggedNumbers:
    """Every text file that looks like the log of a run, in order of its path."""
    logs = []
    for path in sorted(submission.files):
        if is_log_name(path):
            log = read_log(path, submission.files[path].text)
            if log.scores or log.total_bytes is not None or log.model_bytes is not None:
                logs.append(log)
    return LoggedNumbers(logs=tuple(logs))


def is_log_name(path: str) -> bool:
    """Whether a path may be a run log by its name."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith((".log", ".txt")) and not name.startswith(("requirements", "readme"))


def read_log(path: str, text: str) -> RunLog:
    """The numbers of one log; a number printed twice counts as printed last."""
    scores: list[ScoreLine] = []
    sizes: dict[str, int] = {}
    seed = tokens = None
    lines = text[:MAX_LOG_CHARACTERS].splitlines()
    for number, line in _lines(lines):
        score = read_score(number, line)
        if score is not None:
            scores.append(score)
        if (found := _SEED.search(line)) and seed is None:
            seed = int(found[1])
        if (found := _TOKENS.match(line)) and tokens is None:
            tokens = int(found[1])
        _size(line, sizes)
    if seed is None and (found := _SEED_IN_NAME.search(path)):
        seed = int(found[1])
    code, model, total = (sizes.get(key) for key in ("code", "model", "artifact"))
    if model is None and code is not None and total is not None and total > code:
        model = total - code
    return RunLog(
        file=path,
        seed=seed,
        tokens=tokens,
        scores=tuple(scores[-MAX_SCORES:]),
        code_bytes=code,
        model_bytes=model,
        total_bytes=sizes.get("raw total") if total is None else total,
        facts=read_facts(lines),
        settings=read_settings(text),
    )


def _lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines that can hold a fact, without those that are too long for one."""
    for number, line in enumerate(lines, 1):
        if len(line) <= MAX_LINE_CHARACTERS and any(sign in line for sign in _SIGNS):
            yield number, line


def read_settings(text: str) -> dict[str, str]:
    """The block of settings that a run prints when it starts; empty where it prints none."""
    settings = {
        name: value.strip() for name, value in _SETTING.findall(text[:MAX_HEADER_CHARACTERS])
    }
    return settings if len(settings) >= MIN_SETTINGS else {}


def _size(line: str, sizes: dict[str, int]) -> None:
    """Keep the size that a line states; the raw model is not the artifact and is passed over."""
    if found := _CODE.match(line):
        sizes["code"] = _integer(found[1])
    elif found := _MODEL.match(line):
        sizes["model"] = _integer(found[2])
    elif found := _TOTAL.match(line):
        # Without a container's name the line mostly counts the raw model.
        sizes["artifact" if found[1].strip() else "raw total"] = _integer(found[2])
    elif found := _ARTIFACT.match(line):
        sizes["artifact"] = _integer(found[1])


def _integer(digits: str) -> int:
    """A whole number that may be printed with thousands separators."""
    return int(digits.replace(",", "") or 0)
