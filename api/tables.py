"""The tables: what was handed in, what is being done about it, and what was said."""

from datetime import UTC, datetime
from enum import IntEnum, StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class State(StrEnum):
    """Where an audit is; a job never fails, so that *fail* always means the submission."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    ERRORED = "errored"
    CANCELLED = "cancelled"


UNENDED = (State.QUEUED, State.RUNNING)


class Priority(IntEnum):
    """Who comes first of those that wait in the same queue."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone; SQLite keeps none, so it is UTC in the table."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone after moving to UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class Words(TypeDecorator[str]):
    """Text that every database takes: PostgreSQL has no NUL, and neither has half a character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Show what cannot be kept."""
        if value is None:
            return None
        return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: UtcDateTime, str: Words}  # noqa: RUF012 - SQLAlchemy's own name


class SubmissionRow(Base):
    """An archive, once, however often it is handed in; its bytes are in the blob of this name."""

    __tablename__ = "submissions"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    """Of the archive's bytes."""
    digest: Mapped[str]
    """Of the files in it: `Submission.sha256`."""
    size: Mapped[int]
    """Bytes of the archive."""
    received: Mapped[datetime]
    dropped: Mapped[datetime | None]
    """When its bytes were deleted; until somebody hands them in again."""


class AuditRow(Base):
    """One audit that was asked for: a job and its progress."""

    __tablename__ = "audits"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'errored', 'cancelled')", name="known"
        ),
        Index("ix_audits_waiting", "state", "priority", "created"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    submission_sha256: Mapped[str] = mapped_column(ForeignKey("submissions.sha256"))
    batch: Mapped[str | None] = mapped_column(index=True)
    """What the client calls the many of which this is one."""
    source: Mapped[str | None]
    """Repository, commit and folder, when nobody handed the files in themselves."""
    rejudge_id: Mapped[str | None] = mapped_column(ForeignKey("rejudges.id"), index=True)
    """Of which set it is a part: its verdict counts when the set is applied."""
    rejudges: Mapped[str | None]
    """The verdict that it is to be compared with."""
    name: Mapped[str]
    """File name as handed in; here because the same bytes may come under two names."""
    run: Mapped[bool]
    ruleset: Mapped[str]
    options: Mapped[str]
    """Of the plan, where they are not the defaults: JSON, in one spelling."""
    priority: Mapped[int]
    actor: Mapped[str] = mapped_column(index=True)
    """Who handed it in: the id of an API key, or `local`."""
    key: Mapped[str | None] = mapped_column(unique=True)
    """Actor and Idempotency-Key: who sends it again is shown this audit."""
    state: Mapped[str] = mapped_column(index=True)
    done: Mapped[float]
    doing: Mapped[str]
    version: Mapped[int]
    """Raised with every change that is told as an event: who saw this one has missed nothing."""
    attempts: Mapped[int]
    """How often it was started; also the fence: only the newest attempt may say something."""
    jobs: Mapped[int]
    """How many jobs it had: one that ended without a word, as when the database was away in the
    middle of it, gets another."""
    worker: Mapped[str | None]
    """Who works on it."""
    created: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    problem_kind: Mapped[str | None]
    problem_message: Mapped[str | None]

    submission: Mapped[SubmissionRow] = relationship()
    verdict: Mapped["VerdictRow | None"] = relationship(back_populates="audit")


class WorkerRow(Base):
    """A process that takes jobs, and when it was last heard of."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen: Mapped[float]
    """Seconds since 1970 by the database's clock."""


class VerdictRow(Base):
    """What was said, for good: triggers refuse to change or delete a row."""

    __tablename__ = "verdicts"

    id: Mapped[str] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"), unique=True)
    digest: Mapped[str] = mapped_column(index=True)
    outcome: Mapped[str]
    ruleset: Mapped[str]
    engine: Mapped[str]
    trouble: Mapped[bool]
    """Whether the execution gave no evidence; another try may."""
    document: Mapped[str]
    """The verdict v1 JSON as it is served, byte for byte."""
    created: Mapped[datetime] = mapped_column(index=True)

    audit: Mapped[AuditRow] = relationship(back_populates="verdict")


class LogRow(Base):
    """A verdict's place in the log, for good: triggers refuse to change or delete a row."""

    __tablename__ = "log"

    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """0 for the first verdict, without gaps."""
    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), unique=True)
    leaf: Mapped[str]
    """Hash of the document as a leaf of a Merkle tree, in hexadecimal."""


Counter = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives out; SQLite does so for its own integers alone."""


class KeyRow(Base):
    """An API key; the key itself is kept nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    scopes: Mapped[str]
    """With spaces between."""
    requests_per_minute: Mapped[int | None]
    audits_per_day: Mapped[int | None]
    created: Mapped[datetime]
    revoked: Mapped[datetime | None]


class SessionRow(Base):
    """A browser that showed a key; the cookie itself is kept nowhere."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    expires: Mapped[datetime]


class ActionRow(Base):
    """Who did what, for good: triggers refuse to change or delete a row."""

    __tablename__ = "actions"

    id: Mapped[int] = mapped_column(Counter, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    verb: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    """Id of what it was done to."""
    detail: Mapped[str]
    request_id: Mapped[str | None]


class SummaryRow(Base):
    """What lists show of a verdict; made from its document, and could be made again."""

    __tablename__ = "summaries"

    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), primary_key=True)
    submission: Mapped[str] = mapped_column(index=True)
    """Digest of the files that were judged."""
    folder: Mapped[str]
    claimed_bpb: Mapped[float | None] = mapped_column(Double)
    verified_bpb: Mapped[float | None] = mapped_column(Double)
    """Mean of what the logs of the claimed runs end with, where the verdict is PASS."""


class RuleOutcomeRow(Base):
    """How one rule came out, for searching."""

    __tablename__ = "rule_outcomes"
    __table_args__ = (Index("ix_rule_outcomes", "rule", "outcome"),)

    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), primary_key=True)
    rule: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]


class SupersededRow(Base):
    """A later verdict stands for an earlier one; both stay. Triggers refuse to change a row."""

    __tablename__ = "superseded"

    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), primary_key=True)
    """The earlier one."""
    by_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), unique=True)
    rejudge_id: Mapped[str] = mapped_column(ForeignKey("rejudges.id"))


class RejudgeRow(Base):
    """A selection of verdicts that is audited again, to be compared and then applied or not."""

    __tablename__ = "rejudges"

    id: Mapped[str] = mapped_column(primary_key=True)
    ruleset: Mapped[str]
    reason: Mapped[str]
    actor: Mapped[str]
    state: Mapped[str]
    """open, applied or cancelled."""
    created: Mapped[datetime]
    decided: Mapped[datetime | None]


class AppealRow(Base):
    """Somebody says that a finding is wrong, and what a reviewer answered."""

    __tablename__ = "appeals"

    id: Mapped[str] = mapped_column(primary_key=True)
    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), index=True)
    rule: Mapped[str]
    text: Mapped[str]
    evidence: Mapped[str]
    """What speaks for it, as text and links; shown as text."""
    actor: Mapped[str]
    created: Mapped[datetime]
    state: Mapped[str]
    """open, accepted or rejected."""
    answer: Mapped[str | None]
    answered_by: Mapped[str | None]
    answered: Mapped[datetime | None]


class NoteRow(Base):
    """What a reviewer wrote beside a verdict; triggers refuse to change or delete a row."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(Counter, primary_key=True)
    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), index=True)
    text: Mapped[str]
    actor: Mapped[str]
    created: Mapped[datetime]


class CallbackRow(Base):
    """An address that is to be told when an audit has ended."""

    __tablename__ = "callbacks"

    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"), primary_key=True)
    url: Mapped[str]
    tries: Mapped[int]
    due: Mapped[datetime | None] = mapped_column(index=True)
    """When the next try is; None when it was told, or nobody tries any more."""
    said: Mapped[str | None]
    """How the last try went."""
