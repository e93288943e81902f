"""The tables: what was handed in, what is being done about it, and what was said."""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, ForeignKey, Integer, Text
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


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: UtcDateTime, str: Text}  # noqa: RUF012 - SQLAlchemy's own name


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


class AuditRow(Base):
    """One audit that was asked for: a job and its progress."""

    __tablename__ = "audits"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'errored', 'cancelled')", name="known"
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    submission_sha256: Mapped[str] = mapped_column(ForeignKey("submissions.sha256"))
    name: Mapped[str]
    """File name as handed in; here because the same bytes may come under two names."""
    run: Mapped[bool]
    ruleset: Mapped[str]
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
