"""What the service answers, as types."""

import json
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from api.tables import AppealRow, AuditRow, NoteRow, Priority, State, SummaryRow, VerdictRow


class Progress(BaseModel):
    """How far an audit is."""

    done: float
    """0 to 1."""
    doing: str


class Archive(BaseModel):
    """What was handed in."""

    name: str
    size: int
    """Bytes of the archive."""
    archive_sha256: str
    """Of the archive's bytes."""
    digest: str
    """Of the files in it, as in the verdict: the same however they were packed."""


class VerdictLink(BaseModel):
    """Where the verdict of a finished audit is, and what it says."""

    id: str
    outcome: str
    digest: str


class AuditProblem(BaseModel):
    """Why an errored audit has no verdict."""

    kind: str
    """`tool`, `internal`, `interrupted` or `submission`."""
    message: str


class AuditStatus(BaseModel):
    """One audit, as far as it is."""

    id: str
    state: State
    run: bool
    ruleset: str
    options: dict[str, Any]
    """`budget_seconds` and `experiments`, where they were asked for."""
    priority: str
    """low, normal or high."""
    source: str | None
    """REPOSITORY@COMMIT:FOLDER, when it was fetched."""
    progress: Progress
    submission: Archive
    created: datetime
    started: datetime | None
    finished: datetime | None
    ahead: int
    """Audits that wait before this one in its queue; 0 once it is running."""
    verdict: VerdictLink | None
    problem: AuditProblem | None
    links: dict[str, str]

    @classmethod
    def of(cls, row: AuditRow, ahead: int) -> Self:
        """The row as it is told to others."""
        verdict = row.verdict
        links = {"self": f"/v1/audits/{row.id}", "events": f"/v1/audits/{row.id}/events"}
        if verdict is not None:
            links["verdict"] = f"/v1/verdicts/{verdict.id}"
            links["page"] = f"/verdicts/{verdict.id}"
        return cls(
            id=row.id,
            state=State(row.state),
            run=row.run,
            ruleset=row.ruleset,
            options=json.loads(row.options),
            priority=Priority(row.priority).name.lower(),
            source=row.source,
            progress=Progress(done=row.done, doing=row.doing),
            submission=Archive(
                name=row.name,
                size=row.submission.size,
                archive_sha256=row.submission.sha256,
                digest=row.submission.digest,
            ),
            created=row.created,
            started=row.started,
            finished=row.finished,
            ahead=ahead,
            verdict=None
            if verdict is None
            else VerdictLink(id=verdict.id, outcome=verdict.outcome, digest=verdict.digest),
            problem=None
            if row.problem_kind is None
            else AuditProblem(kind=row.problem_kind, message=row.problem_message or ""),
            links=links,
        )


class AuditPage(BaseModel):
    """Some audits, and where there are more."""

    items: list[AuditStatus]
    next: str | None
    """Address of the next page."""


class Batch(BaseModel):
    """Many audits that a client asked for together."""

    name: str
    states: dict[str, int]
    """State -> how many audits."""
    outcomes: dict[str, int]
    """Outcome -> how many verdicts."""
    ended: bool
    links: dict[str, str]


class VerdictEntry(BaseModel):
    """A verdict as lists show it."""

    id: str
    audit: str
    outcome: str
    ruleset: str
    engine: str
    digest: str
    submission: str
    """Digest of the files that were judged."""
    folder: str
    run: bool
    claimed_bpb: float | None
    verified_bpb: float | None
    """Mean of what the logs of the claimed runs end with, where the verdict is PASS."""
    created: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: VerdictRow, summary: SummaryRow) -> Self:
        """The rows as they are told to others."""
        where = f"/v1/verdicts/{row.id}"
        return cls(
            id=row.id,
            audit=row.audit_id,
            outcome=row.outcome,
            ruleset=row.ruleset,
            engine=row.engine,
            digest=row.digest,
            submission=summary.submission,
            folder=summary.folder,
            run=row.audit.run,
            claimed_bpb=summary.claimed_bpb,
            verified_bpb=summary.verified_bpb,
            created=row.created,
            links={"self": where, "page": f"/verdicts/{row.id}", "badge": f"{where}/badge.svg"},
        )


class VerdictPage(BaseModel):
    """Some verdicts, and where there are more."""

    items: list[VerdictEntry]
    next: str | None
    """Address of the next page."""


class Appeal(BaseModel):
    """An appeal and its answer."""

    id: str
    verdict: str
    rule: str
    text: str
    evidence: str
    actor: str
    created: datetime
    state: str
    answer: str | None
    answered_by: str | None
    answered: datetime | None

    @classmethod
    def of(cls, row: AppealRow) -> Self:
        """The row as it is told to others."""
        return cls(
            id=row.id,
            verdict=row.verdict_id,
            rule=row.rule,
            text=row.text,
            evidence=row.evidence,
            actor=row.actor,
            created=row.created,
            state=row.state,
            answer=row.answer,
            answered_by=row.answered_by,
            answered=row.answered,
        )


class AppealPage(BaseModel):
    """Some appeals, and where there are more."""

    items: list[Appeal]
    next: str | None


class Note(BaseModel):
    """What a reviewer wrote beside a verdict."""

    text: str
    actor: str
    created: datetime

    @classmethod
    def of(cls, row: NoteRow) -> Self:
        """The row as it is told to others."""
        return cls(text=row.text, actor=row.actor, created=row.created)


class Action(BaseModel):
    """Who did what."""

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: str
    request_id: str | None


class ActionPage(BaseModel):
    """Some actions, and where there are more."""

    items: list[Action]
    next: str | None


class Difference(BaseModel):
    """One submission of a rejudge set, before and after."""

    verdict: str
    outcome: str
    audit: str
    state: str
    new_verdict: str | None
    new_outcome: str | None
    changed: dict[str, tuple[str | None, str | None]]
    """Rule -> outcome before and after, where they differ."""


class Rejudge(BaseModel):
    """A set of verdicts that is audited again."""

    id: str
    ruleset: str
    reason: str
    actor: str
    state: str
    created: datetime
    decided: datetime | None
    counts: dict[str, int]
    """State of the audits -> how many."""
    differences: list[Difference]
