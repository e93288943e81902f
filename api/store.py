"""What is kept: archives by their digest, audits with their progress, verdicts for good."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.access import LOCAL
from api.blobs import AnyBlobs
from api.db import Database
from api.derived import outcomes_of, summary_of
from api.keys import note
from api.log import append
from api.tables import (
    UNENDED,
    AuditRow,
    CallbackRow,
    Priority,
    RuleOutcomeRow,
    State,
    SubmissionRow,
    SummaryRow,
    VerdictRow,
    WorkerRow,
)
from auditor.audit import ENGINE
from auditor.rulesets import DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants audited, and how."""

    name: str
    digest: str
    run: bool
    ruleset: str = DEFAULT.name
    options: str = "{}"
    """Of the plan, where they are not the defaults: JSON, in one spelling."""
    priority: Priority = Priority.NORMAL
    actor: str = LOCAL.id
    audits_per_day: int | None = None
    key: str | None = None
    """Idempotency-Key."""
    again: bool = False
    """Audit even if there is a verdict already."""
    request_id: str | None = None
    batch: str | None = None
    source: str | None = None
    """Repository, commit and folder, when nobody handed the files in themselves."""
    callback: str | None = None
    """Address that is told of the end."""
    rejudge_id: str | None = None
    rejudges: str | None = None
    """The set that it is a part of, and the verdict that it is to be compared with."""

    @property
    def full_key(self) -> str | None:
        """The key together with whose it is: two people may think of the same one."""
        return None if self.key is None else f"{self.actor}/{self.key}"


@dataclass(frozen=True, slots=True)
class Job:
    """What the queue is told of an audit."""

    audit_id: str
    run: bool
    priority: int
    number: int = 1
    """It gets another one when the first ended without a word."""


class OtherRequest(Exception):  # noqa: N818 - an answer, not a fault
    """The Idempotency-Key was used for something else; the argument is that audit's id."""


class OverQuota(Exception):  # noqa: N818 - an answer, not a fault
    """The day's audits are used up: had, limit, seconds until one more may be asked for."""

    def __init__(self, had: int, limit: int, wait_seconds: float) -> None:
        """Keep the numbers for the answer."""
        super().__init__(had, limit, wait_seconds)
        self.had, self.limit, self.wait_seconds = had, limit, wait_seconds


class Store:
    """Every change of the database is one method here, in one transaction."""

    def __init__(self, database: Database, blobs: AnyBlobs) -> None:
        """Keep rows in the database and archives in the blobs."""
        self.database = database
        self.blobs = blobs

    def accept(self, archive: BinaryIO, asked: Asked) -> tuple[str, bool]:
        """Keep an archive and an audit of it that waits: the audit's id, and whether it is new.

        It is not when the Idempotency-Key was used before, nor when there is a verdict on the same
        bytes by the same ruleset and engine and no other one was asked for.
        """
        archive.seek(0)
        sha256 = hashlib.file_digest(archive, "sha256").hexdigest()  # type: ignore[arg-type]
        size = archive.tell()
        with self.database.read() as session:
            if not asked.again and (known := _answered(session, sha256, asked)):
                return known, False
            # Before the bytes are kept: what is refused must not fill the disk.
            _within_quota(session, asked)
        self.blobs.put(archive, sha256)
        try:
            with self.database.write() as session:
                if asked.audits_per_day is not None:
                    self.database.take_turns(session, asked.actor)
                    _within_quota(session, asked)
                self._keep(session, sha256, asked.digest, size)
                # The row is ours now; the archive may have been dropped just before.
                self.blobs.put(archive, sha256)
                audit_id = add_audit(session, sha256, asked).audit_id
        except IntegrityError:
            # The key was used before, perhaps by a request at the same time.
            earlier = self.by_key(asked.full_key)
            if earlier is None:
                raise
            if (earlier.submission_sha256, earlier.run, earlier.ruleset, earlier.options) != (
                sha256,
                asked.run,
                asked.ruleset,
                asked.options,
            ):
                raise OtherRequest(earlier.id) from None
            return earlier.id, False
        return audit_id, True

    def _keep(self, session: Session, sha256: str, digest: str, size: int) -> None:
        """A row for an archive, which nobody drops until the end of the transaction."""
        insert = sqlite.insert if self.database.embedded else postgresql.insert
        values = {"sha256": sha256, "digest": digest, "size": size, "received": _now()}
        again = {"dropped": None}
        session.execute(
            insert(SubmissionRow)
            .values(values)
            .on_conflict_do_update(index_elements=["sha256"], set_=again)
        )

    def by_key(self, key: str | None) -> AuditRow | None:
        """The audit that an Idempotency-Key of somebody was used for."""
        if key is None:
            return None
        with self.database.read() as session:
            return session.scalar(select(AuditRow).where(AuditRow.key == key))

    def start(self, audit_id: str, attempts: int, worker: str = "") -> AuditRow | None:
        """Begin, or begin again after a crash; None when nothing is left to do."""
        with self.database.write() as session:
            row = session.get(AuditRow, audit_id, with_for_update=True)
            if row is None or row.state not in UNENDED:
                return None
            if row.attempts >= attempts:
                _end(
                    session,
                    audit_id,
                    state=State.ERRORED,
                    problem_kind="interrupted",
                    problem_message=f"the service stopped during each of {row.attempts} attempts, "
                    f"the limit is {attempts}",
                )
                return None
            row.attempts += 1
            row.worker = worker
            row.state = State.RUNNING
            row.started = _now()
            row.done, row.doing = 0.0, "starting"
            row.version += 1
        return row

    def progress(self, audit_id: str, doing: str, done: float, attempt: int | None = None) -> None:
        """Keep how far a running audit is."""
        with self.database.write() as session:
            session.execute(
                update(AuditRow)
                .where(AuditRow.id == audit_id, AuditRow.state == State.RUNNING, *_fence(attempt))
                .values(doing=doing, done=done, version=AuditRow.version + 1)
            )

    def finish(self, audit_id: str, document: dict[str, Any], attempt: int | None = None) -> bool:
        """Keep the verdict of a running audit; False when it has ended or another has it now."""
        with self.database.write() as session:
            ended = _end(session, audit_id, attempt, state=State.FINISHED, done=1.0, doing="done")
            if ended:
                verdict_id = uuid.uuid4().hex
                append(
                    self.database,
                    session,
                    VerdictRow(
                        id=verdict_id,
                        audit_id=audit_id,
                        digest=document["digest"],
                        outcome=document["outcome"],
                        ruleset=document["ruleset"],
                        engine=document["engine"],
                        trouble=document["trouble"] is not None,
                        # As the command writes it, so that the two can be compared as text.
                        document=json.dumps(document, indent=1, ensure_ascii=False) + "\n",
                        created=_now(),
                    ),
                )
                session.add(SummaryRow(verdict_id=verdict_id, **summary_of(document)))
                session.add_all(
                    RuleOutcomeRow(verdict_id=verdict_id, rule=rule, outcome=outcome)
                    for rule, outcome in outcomes_of(document).items()
                )
        return ended

    def error(self, audit_id: str, *, kind: str, message: str, attempt: int | None = None) -> None:
        """End an audit that could not be carried out, with the reason."""
        with self.database.write() as session:
            _end(
                session,
                audit_id,
                attempt,
                state=State.ERRORED,
                problem_kind=kind,
                problem_message=message,
            )

    def cancel(self, audit_id: str, actor: str, request_id: str | None = None) -> bool:
        """End an audit because somebody asked for it; False when it had ended."""
        with self.database.write() as session:
            ended = _end(session, audit_id, state=State.CANCELLED, doing="cancelled")
            if ended:
                note(session, actor, "audit cancelled", audit_id, request_id=request_id)
        return ended

    def version(self, audit_id: str) -> tuple[int, bool]:
        """The number of its last change, and whether it has ended; (0, True) when unknown."""
        with self.database.read() as session:
            query = select(AuditRow.version, AuditRow.state).where(AuditRow.id == audit_id)
            row = session.execute(query).one_or_none()
        return (0, True) if row is None else (row.version, row.state not in UNENDED)

    def unfinished(self, limit: int, after: str | None = None) -> list[Job]:
        """The jobs of audits that wait or run, by id; those after this id."""
        with self.database.read() as session:
            query = select(AuditRow.id, AuditRow.run, AuditRow.priority, AuditRow.jobs)
            query = query.where(AuditRow.state.in_(UNENDED))
            if after is not None:
                query = query.where(AuditRow.id > after)
            return [Job(*row) for row in session.execute(query.order_by(AuditRow.id).limit(limit))]

    def next_job(self, audit_id: str) -> int | None:
        """The number of another job for an audit; None when it has ended."""
        with self.database.write() as session:
            query = (
                update(AuditRow)
                .where(AuditRow.id == audit_id, AuditRow.state.in_(UNENDED))
                .values(jobs=AuditRow.jobs + 1)
            )
            return session.scalar(query.returning(AuditRow.jobs))

    def still_ours(self, worker: str) -> set[tuple[str, int]]:
        """The audits, with their attempts, that this worker is to go on with."""
        with self.database.read() as session:
            query = select(AuditRow.id, AuditRow.attempts).where(
                AuditRow.state == State.RUNNING, AuditRow.worker == worker
            )
            return {(audit_id, attempt) for audit_id, attempt in session.execute(query)}

    def beat(self, worker: str, lease_seconds: float) -> set[str]:
        """Say that this worker lives, by the database's clock; the answer is all that do."""
        with self.database.write() as session:
            now = self.database.seconds(session)
            session.merge(WorkerRow(id=worker, seen=now))
            session.execute(delete(WorkerRow).where(WorkerRow.seen < now - 100 * lease_seconds))
            query = select(WorkerRow.id).where(WorkerRow.seen >= now - lease_seconds)
            return set(session.scalars(query)) | {worker}

    def leave(self, *workers: str) -> None:
        """Forget these workers; without any, all of them."""
        with self.database.write() as session:
            gone = delete(WorkerRow)
            session.execute(gone.where(WorkerRow.id.in_(workers)) if workers else gone)


def _answered(session: Session, sha256: str, asked: Asked) -> str | None:
    """The newest audit that has answered the same question; one with trouble has not."""
    # Most archives are new, and this costs a third of the question.
    known = select(SubmissionRow.size).where(SubmissionRow.sha256 == sha256)
    if session.scalar(known) is None:
        return None
    query = (
        select(AuditRow.id)
        .join(VerdictRow, VerdictRow.audit_id == AuditRow.id)
        .where(AuditRow.submission_sha256 == sha256, AuditRow.name == asked.name)
        .where(AuditRow.run == asked.run, AuditRow.ruleset == asked.ruleset)
        .where(AuditRow.options == asked.options)
        .where(VerdictRow.engine == ENGINE, VerdictRow.trouble.is_(False))
        .where(AuditRow.rejudge_id.is_(None))
        .order_by(VerdictRow.created.desc())
    )
    return session.scalar(query.limit(1))


def _within_quota(session: Session, asked: Asked) -> None:
    """Raise OverQuota when who asks has had their audits of the last 24 hours."""
    if asked.audits_per_day is None:
        return
    since = _now() - timedelta(days=1)
    mine = select(AuditRow.created).where(AuditRow.actor == asked.actor, AuditRow.created > since)
    had = session.scalar(select(func.count()).select_from(mine.subquery())) or 0
    if had >= asked.audits_per_day:
        oldest = session.scalar(mine.order_by(AuditRow.created).limit(1)) or since
        raise OverQuota(had, asked.audits_per_day, (oldest - since).total_seconds())


def add_audit(session: Session, sha256: str, asked: Asked) -> Job:
    """A new audit that waits."""
    audit_id = uuid.uuid4().hex
    session.add(
        AuditRow(
            id=audit_id,
            submission_sha256=sha256,
            name=asked.name,
            run=asked.run,
            ruleset=asked.ruleset,
            options=asked.options,
            priority=asked.priority,
            actor=asked.actor,
            key=asked.full_key,
            batch=asked.batch,
            source=asked.source,
            rejudge_id=asked.rejudge_id,
            rejudges=asked.rejudges,
            state=State.QUEUED,
            done=0.0,
            doing="waiting",
            version=1,
            attempts=0,
            jobs=1,
            created=_now(),
        )
    )
    if asked.callback is not None:
        session.flush()
        session.add(CallbackRow(audit_id=audit_id, url=asked.callback, tries=0, due=_now()))
    note(session, asked.actor, "audit asked for", audit_id, asked.name, asked.request_id)
    return Job(audit_id, asked.run, asked.priority)


def _fence(attempt: int | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that no later attempt has begun; None where nobody could have."""
    return () if attempt is None else (AuditRow.attempts == attempt,)


def _end(session: Session, audit_id: str, attempt: int | None = None, **values: object) -> bool:
    """End an audit once: False when it had ended, so that nobody can say a second word."""
    query = (
        update(AuditRow)
        .where(AuditRow.id == audit_id, AuditRow.state.in_(UNENDED), *_fence(attempt))
        .values(finished=_now(), version=AuditRow.version + 1, **values)
        .returning(AuditRow.id)
    )
    return session.scalar(query) is not None


def _now() -> datetime:
    return datetime.now(UTC)
