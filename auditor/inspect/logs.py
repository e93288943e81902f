"""The numbers that run logs print.

Logs of this benchmark share a small grammar: one fact a line, `name:value` or `name=value`. Only
complete numbers are taken, so a source dump inside a log (`val_bpb:{val_bpb:.4f}`) gives none. A
line that reports progress (a share of windows, a running mean) is not a score.
"""

import re
from collections.abc import Iterator

from auditor.evidence import LoggedNumbers, RunLog, ScoreLine
from auditor.inspect.run_facts import read_facts
from auditor.submission import Submission

MAX_LINE_CHARACTERS = 1_000
"""No fact of a log is longer; what is longer is a dump, and is skipped."""
MAX_LOG_CHARACTERS = 20_000_000
"""A run prints about one megabyte; what follows is not read."""
MAX_SCORES = 2_000
"""Of one log; the last ones are kept, because the final score is among them."""

_NUMBER = r"(\d{1,4}\.\d{3,17})(?![\d.eE])"
_LOSS = re.compile(r"\bval_loss[:=]\s?" + _NUMBER)
_BPB = re.compile(
    r"\b((?:val|final|total|(?:\w{1,20}_)?mix(?:ed|er|ture)?|ppm|ngram|ttt|slot)_bpb|BPB)"
    r"(?:\s{1,3}\([^()]{1,20}\))?\s{0,3}[:= ]\s{0,12}" + _NUMBER
)
_TOTAL_BPB = re.compile(r"\b(\w{1,60}_total)\s{1,3}bpb[:=]\s?" + _NUMBER)
_PROGRESS = re.compile(
    r"\[\s*\d+(?:\.\d+)?\s*[%/]|progress|running_|_chunk\b|\bbatch\b|improvement"
)
_STEP = re.compile(r"^(?:[\d.]+ )?(?:step[: ]\s?)?\d+/\d+\b")
_SEED = re.compile(r"(?:^|[\s.])seed\s{0,30}[:=]\s?(\d{1,10})\b", re.IGNORECASE)
_SEED_IN_NAME = re.compile(r"(?:seed|_s|/s)[_-]?(\d{1,10})(?!\d)", re.IGNORECASE)
_TOKENS = re.compile(r"^(?:val_loader:.*\btokens:|.*\bval_tokens[:=]\s?)(\d{1,12})\b")
_CODE = re.compile(r"^\s*Code size(?: \(compressed\))?\s?:\s*([\d,]{1,15}) bytes")
_MODEL = re.compile(r"^\s*Serialized model ([^:]{1,60}):\s*([\d,]{1,15}) bytes")
_TOTAL = re.compile(r"^\s*Total submission size([^:]{0,60}):\s*([\d,]{1,15}) bytes")
_ARTIFACT = re.compile(r"^\s*Artifact(?: size)?:\s*([\d,]{1,15}) bytes")
_EVAL_TIME = re.compile(r"\b(?:eval_time|elapsed)[:=] ?(\d{1,9}(?:\.\d{1,3})?)(ms|s)\b")
_BYTES = re.compile(r"\bbytes[=:]\s?(\d{6,12})\b")
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
        score = _score(number, line)
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


def _score(line_number: int, line: str) -> ScoreLine | None:
    """The score that a line states, or None."""
    bpb = _BPB.search(line) or _TOTAL_BPB.search(line)
    if bpb is None or _PROGRESS.search(line):
        return None
    loss = _LOSS.search(line)
    printed = [bpb[2]] + ([loss[1]] if loss else [])
    if float(printed[0]) <= 0:
        return None
    label = line[: min(match.start() for match in (bpb, loss) if match)].strip(" \t:=|-") or bpb[1]
    step = _STEP.match(label)
    return ScoreLine(
        line=line_number,
        label=f"step:{label.removeprefix('step:')}" if step else label[:80],
        val_loss=float(loss[1]) if loss else None,
        val_bpb=float(printed[0]),
        exact=len(printed[0].partition(".")[2]) >= 7,
        decimals=min(len(digits.partition(".")[2]) for digits in printed),
        eval_seconds=_seconds(line),
        stated_bytes=int(said[1]) if (said := _BYTES.search(line)) else None,
    )


def _seconds(line: str) -> float | None:
    """How long a stage took, as its score line says."""
    found = _EVAL_TIME.search(line)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


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
