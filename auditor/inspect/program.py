"""The program of a submission as every analysis needs it: sources, configuration, logs."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from auditor.errors import CannotMeasure
from auditor.evidence import ClaimedNumbers, LoggedNumbers, RunLog
from auditor.inspect.claims import read_claims
from auditor.inspect.config import Config, Launch, configuration, read_launch
from auditor.inspect.logs import MAX_LOG_CHARACTERS, read_logs
from auditor.inspect.source import FunctionNode, Module, read_sources
from auditor.inspect.tree import walk
from auditor.inspect.units import Guard
from auditor.submission import Submission

MAX_PRINTED = 80
MIN_PRINTED = 8
"""Shorter texts stand in any log."""
MAX_CALLS = 2
"""Functions followed from a branch to what they print."""


@dataclass(frozen=True, slots=True)
class Program:
    """Parsed sources with the configuration that they ran under."""

    submission: Submission
    modules: tuple[Module, ...]
    unread: tuple[str, ...]
    launch: Launch
    config: Config
    logs: tuple[RunLog, ...]
    claims: ClaimedNumbers | None
    claimed: tuple[RunLog, ...]
    """Logs that end near the claimed score; an ablation shows nothing of the claimed run."""
    lines: "LogLines"


def read_program(submission: Submission, logged: LoggedNumbers | None = None) -> Program:
    """Parse what the entry point brings in; CannotMeasure says why there is nothing.

    `logged` is what `read_logs` gives, where that is known already.
    """
    sources = read_sources(submission)
    if not sources.modules:
        raise CannotMeasure("; ".join(sources.unread))
    launch = read_launch(submission)
    logged = logged or read_logs(submission)
    try:
        claims = read_claims(submission)
    except CannotMeasure:
        claims = None
    return Program(
        submission=submission,
        modules=sources.modules,
        unread=sources.unread,
        launch=launch,
        config=configuration(sources.modules, launch),
        logs=logged.logs,
        claims=claims,
        claimed=logged.near(claims.val_bpb if claims else None),
        lines=LogLines(submission, logged.logs, sources.modules),
    )


class LogLines:
    """Finds the log line that only a guarded branch prints."""

    def __init__(
        self,
        submission: Submission,
        logs: tuple[RunLog, ...],
        modules: tuple[Module, ...] = (),
    ) -> None:
        """Index the lines of the logs by how they begin."""
        self._mentions: Counter[str] = Counter()
        self._functions: dict[str, list[FunctionNode]] = {}
        for module in modules if logs else ():  # without a log there is nothing to find
            for node, _ in module.functions:
                self._functions.setdefault(node.name, []).append(node)
            self._mentions.update(node.id for node in module.of(ast.Name))
            self._mentions.update(node.attr for node in module.of(ast.Attribute))
        self._lines: dict[str, str] = {}
        for log in logs:
            printed = submission.files[log.file].text[:MAX_LOG_CHARACTERS].splitlines()
            for number, line in enumerate(printed, 1):
                text = line.strip()[:MAX_PRINTED]
                if len(text) >= MIN_PRINTED:
                    self._lines.setdefault(text, f"{log.file}:{number}")
        self._beginnings = {text[:MIN_PRINTED] for text in self._lines}
        self._known: dict[tuple[int, bool], str | None] = {}

    def shows(self, guard: Guard) -> str | None:
        """Where a log shows that the branch ran."""
        # A node of the tree lives as long as this; a guard is made anew for each question.
        if not self._lines:
            return None
        key = id(guard.test), guard.wanted
        if key not in self._known:
            self._known[key] = next(
                filter(None, map(self._where, self._prints(guard.branch))), None
            )
        return self._known[key]

    def _prints(self, branch: tuple[ast.stmt, ...], depth: int = 0) -> Iterator[str]:
        """Beginnings of what a block prints, and a function that is called nowhere else."""
        nodes = [node for statement in branch for node in walk(statement)]
        yield from _prints(nodes)
        if depth < MAX_CALLS:
            for name, times in Counter(_mentioned(nodes)).items():
                functions = self._functions.get(name, [])
                if len(functions) == 1 and self._mentions[name] == times:
                    yield from self._prints(tuple(functions[0].body), depth + 1)

    def _where(self, text: str) -> str | None:
        if text[:MIN_PRINTED] not in self._beginnings:
            return None
        text = text[:MAX_PRINTED]
        return next((place for line, place in self._lines.items() if line.startswith(text)), None)


def _mentioned(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _prints(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Beginnings of what these calls print."""
    for node in nodes:
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("print", "log", "log0", "logger", "info", "print0", "write"):
                text = _beginning(node.args[0])
                if len(text) >= MIN_PRINTED:
                    yield text


def _beginning(node: ast.expr) -> str:
    """The constant beginning of a text."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return _beginning(node.values[0]) if isinstance(node.values[0], ast.Constant) else ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.strip().split("\n")[0]
    return ""
