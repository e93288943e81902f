"""What the service answers, as types."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from api.tables import AuditRow, State


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
    progress: Progress
    submission: Archive
    created: datetime
    started: datetime | None
    finished: datetime | None
    ahead: int
    """Audits that wait before this one; 0 once it is running."""
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
        return cls(
            id=row.id,
            state=State(row.state),
            run=row.run,
            ruleset=row.ruleset,
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
