"""The answer: outcomes, findings, rules and how they make a verdict."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from auditor.errors import AuditorError, ToolError
from auditor.evidence import Evidence
from auditor.rulesets import Ruleset


class Outcome(Enum):
    """What a rule says; INCONCLUSIVE means that nobody could look."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"


@functools.total_ordering
class Strength(Enum):
    """How good the evidence is, from what somebody said to what cannot be otherwise."""

    CLAIMED = "claimed"
    """Said by README or submission.json."""
    LOGGED = "logged"
    """Printed in a run log of the submission."""
    SOURCE = "source"
    """Read in the shipped files."""
    RAN = "ran"
    """Seen while the submission's own code ran."""
    PROVED = "proved"
    """Cannot be otherwise: noise bound, Kraft sum, round trip."""

    def __lt__(self, other: "Strength") -> bool:
        """Order by position in this class, weakest first."""
        ranks = list(Strength)
        return ranks.index(self) < ranks.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where something was seen; every part that is known."""

    file: str | None = None
    """Path inside the submission, or the log of a run."""
    line: int | None = None
    """1-based line in that file."""
    position: int | None = None
    """Position in the validation stream."""
    text: str | None = None
    """The line itself, shortened."""

    def __post_init__(self) -> None:
        """Refuse what is nowhere: a finding without a place helps nobody."""
        if self.file is None and self.position is None:
            raise ValueError("a location needs a file or a position, got neither")

    def __str__(self) -> str:
        """`file:line`, or the position, for people."""
        if self.file is not None:
            return f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"position {self.position}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with both numbers in its message and the place it was seen."""

    message: str
    location: Location
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The figures behind the message, for machines."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule makes of the evidence; made by the four functions below."""

    outcome: Outcome
    strength: Strength | None
    reason: str | None
    findings: tuple[Finding, ...] = ()


def passed(strength: Strength, reason: str) -> Judgement:
    """The property was looked at and holds; the reason says what was seen."""
    return Judgement(Outcome.PASS, strength, reason)


def failed(strength: Strength, findings: Sequence[Finding], reason: str | None = None) -> Judgement:
    """The property is violated, shown by at least one finding."""
    if not findings:
        raise ToolError("a rule failed a submission without a finding")
    return Judgement(Outcome.FAIL, strength, reason, tuple(findings))


def inconclusive(
    reason: str, findings: Sequence[Finding] = (), strength: Strength | None = None
) -> Judgement:
    """Nobody could look, or what was seen does not decide; the reason says which."""
    return Judgement(Outcome.INCONCLUSIVE, strength, reason, tuple(findings))


def not_applicable(reason: str) -> Judgement:
    """The rule does not concern this submission."""
    return Judgement(Outcome.NOT_APPLICABLE, None, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One property of a valid score; its module's docstring is its documentation."""

    id: str
    title: str
    authority: str
    """`official`, `practice` (what organisers did without a text) or `disputed`."""
    needs: tuple[type, ...]
    """Kinds of evidence that it can judge by, strongest first."""
    check: Callable[[Evidence, Ruleset], Judgement]
    matters: str
    """Why a violation matters, in one sentence, for the author of a submission."""
    mend: str
    """What the author can do about it, in one sentence."""
    documentation: str
    """Module docstring: motive, how it is judged, how the rule can be wrong."""


@dataclass(frozen=True, slots=True)
class Result:
    """One rule's answer on one submission."""

    rule: str
    outcome: Outcome
    strength: Strength | None
    reason: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The whole answer about one submission under one ruleset."""

    ruleset: str
    engine: str
    submission: Mapping[str, Any]
    """`folder`, `digests` and `claims` of what was judged."""
    results: tuple[Result, ...]
    evidence: Mapping[str, Any]
    """Every kind of evidence that was collected, as plain values."""
    overrides: tuple[str, ...]
    """Everything that a run changed about the submission's own configuration."""
    trouble: str | None
    """Why a run that was asked for could not be carried out; else None."""
    seconds: float

    @property
    def outcome(self) -> Outcome:
        """What the results come to."""
        return combined(result.outcome for result in self.results)

    def result(self, rule: str) -> Result:
        """The result of one rule; KeyError when that rule was not judged."""
        for result in self.results:
            if result.rule == rule:
                return result
        raise KeyError(rule)


def combined(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL beats INCONCLUSIVE beats PASS; no rule that applied means INCONCLUSIVE."""
    seen = set(outcomes)
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS):
        if outcome in seen:
            return outcome
    return Outcome.INCONCLUSIVE


def judge(rules: Sequence[Rule], evidence: Evidence, ruleset: Ruleset) -> tuple[Result, ...]:
    """Let every rule judge the evidence; a rule that crashes is a tool error, never an outcome."""
    results = []
    for rule in rules:
        try:
            answer = rule.check(evidence, ruleset)
        except AuditorError:
            raise
        except Exception as error:
            raise ToolError(f"rule {rule.id} crashed: {error!r}") from error
        if rule.authority == "disputed" and answer.outcome is Outcome.FAIL:
            answer = inconclusive(
                "the organisers have not settled this rule", answer.findings, answer.strength
            )
        results.append(
            Result(rule.id, answer.outcome, answer.strength, answer.reason, answer.findings)
        )
    return tuple(results)
