"""What is kept: archives by their digest, audits with their progress, verdicts for good."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from api.blobs import Blobs
from api.db import Database
from api.tables import UNENDED, AuditRow, State, SubmissionRow, VerdictRow, WorkerRow
from auditor.rulesets import DEFAULT


class Store:
    """Every change of the database is one method here, in one transaction."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        """Keep rows in the database and archives in the blobs."""
        self.database = database
        self.blobs = blobs

    def accept(
        self,
        archive: bytes,
        *,
        name: str,
        digest: str,
        run: bool,
        ruleset: str = DEFAULT.name,
        key: str | None = None,
    ) -> str:
        """Keep an archive and an audit of it that waits; the answer is the audit's id.

        An Idempotency-Key that was used before gives the audit that it was used for.
        """
        sha256 = self.blobs.put(archive)
        audit_id = uuid.uuid4().hex
        try:
            with self.database.write() as session:
                self._keep(session, sha256, digest, len(archive))
                session.add(
                    AuditRow(
                        id=audit_id,
                        submission_sha256=sha256,
                        name=name,
                        run=run,
                        ruleset=ruleset,
                        key=key,
                        state=State.QUEUED,
                        done=0.0,
                        doing="waiting",
                        attempts=0,
                        jobs=1,
                        created=_now(),
                    )
                )
        except IntegrityError:
            # Two requests with one key, at the same time: the first has made the audit.
            earlier = self.by_key(key)
            if earlier is None:
                raise
            return earlier.id
        return audit_id

    def _keep(self, session: Session, sha256: str, digest: str, size: int) -> None:
        """A row for an archive, unless another request has made it."""
        insert = sqlite.insert if self.database.embedded else postgresql.insert
        values = {"sha256": sha256, "digest": digest, "size": size, "received": _now()}
        session.execute(insert(SubmissionRow).values(values).on_conflict_do_nothing())

    def by_key(self, key: str | None) -> AuditRow | None:
        """The audit that an Idempotency-Key was used for."""
        if key is None:
            return None
        with self.database.read() as session:
            query = select(AuditRow).where(AuditRow.key == key)
            return session.scalar(query.options(joinedload(AuditRow.submission)))

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
        return row

    def progress(self, audit_id: str, doing: str, done: float, attempt: int | None = None) -> None:
        """Keep how far a running audit is."""
        with self.database.write() as session:
            session.execute(
                update(AuditRow)
                .where(AuditRow.id == audit_id, AuditRow.state == State.RUNNING, *_fence(attempt))
                .values(doing=doing, done=done)
            )

    def finish(self, audit_id: str, document: dict[str, Any], attempt: int | None = None) -> bool:
        """Keep the verdict of a running audit; False when it has ended or another has it now."""
        with self.database.write() as session:
            ended = _end(session, audit_id, attempt, state=State.FINISHED, done=1.0, doing="done")
            if ended:
                session.add(
                    VerdictRow(
                        id=uuid.uuid4().hex,
                        audit_id=audit_id,
                        digest=document["digest"],
                        outcome=document["outcome"],
                        ruleset=document["ruleset"],
                        engine=document["engine"],
                        # As the command writes it, so that the two can be compared as text.
                        document=json.dumps(document, indent=1, ensure_ascii=False) + "\n",
                        created=_now(),
                    )
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

    def cancel(self, audit_id: str) -> bool:
        """End an audit because somebody asked for it; False when it had ended."""
        with self.database.write() as session:
            return _end(session, audit_id, state=State.CANCELLED, doing="cancelled")

    def unfinished(self) -> dict[str, int]:
        """Audits that wait or run, oldest first, each with the number of its job."""
        with self.database.read() as session:
            query = select(AuditRow.id, AuditRow.jobs).where(AuditRow.state.in_(UNENDED))
            rows = session.execute(query.order_by(AuditRow.created))
            return {row.id: row.jobs for row in rows}

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


def _fence(attempt: int | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that no later attempt has begun; None where nobody could have."""
    return () if attempt is None else (AuditRow.attempts == attempt,)


def _end(session: Session, audit_id: str, attempt: int | None = None, **values: object) -> bool:
    """End an audit once: False when it had ended, so that nobody can say a second word."""
    query = (
        update(AuditRow)
        .where(AuditRow.id == audit_id, AuditRow.state.in_(UNENDED), *_fence(attempt))
        .values(finished=_now(), **values)
        .returning(AuditRow.id)
    )
    return session.scalar(query) is not None


def _now() -> datetime:
    return datetime.now(UTC)
