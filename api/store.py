"""What is kept: archives by their digest, audits with their progress, verdicts for good."""

import hashlib
import json
import os
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.db import Database
from api.tables import AuditRow, State, SubmissionRow, VerdictRow
from auditor.errors import ToolError


class Blobs:
    """Files named by the SHA-256 of their bytes; a name never stands for half a file."""

    def __init__(self, folder: Path) -> None:
        """Use this folder, and clear what an interrupted write left there."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".incoming-*"):
            left.unlink()

    def put(self, data: bytes) -> str:
        """Keep these bytes; the answer is their name."""
        sha256 = hashlib.sha256(data).hexdigest()
        target = self._path(sha256)
        if target.exists():
            return sha256
        target.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".incoming-", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes of this name; ToolError when the disk has others or none."""
        try:
            data = self._path(sha256).read_bytes()
        except OSError as error:
            raise ToolError(f"archive {sha256} cannot be read back: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ToolError(f"archive {sha256} was changed on disk: its digest is another now")
        return data

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


class Store:
    """Every change of the database is one method here, in one transaction."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        """Keep rows in the database and archives in the blobs."""
        self.database = database
        self.blobs = blobs

    def accept(self, archive: bytes, *, name: str, digest: str, run: bool) -> str:
        """Keep an archive and an audit of it that waits; the answer is the audit's id."""
        sha256 = self.blobs.put(archive)
        audit_id = uuid.uuid4().hex
        with self.database.write() as session:
            if session.get(SubmissionRow, sha256) is None:
                session.add(
                    SubmissionRow(sha256=sha256, digest=digest, size=len(archive), received=_now())
                )
                session.flush()
            session.add(
                AuditRow(
                    id=audit_id,
                    submission_sha256=sha256,
                    name=name,
                    run=run,
                    state=State.QUEUED,
                    done=0.0,
                    doing="waiting",
                    attempts=0,
                    created=_now(),
                )
            )
        return audit_id

    def start(self, audit_id: str, attempts: int) -> AuditRow | None:
        """Begin, or begin again after a crash; None when nothing is left to do."""
        with self.database.write() as session:
            row = session.get(AuditRow, audit_id)
            if row is None or row.state in (State.FINISHED, State.ERRORED):
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
            row.state = State.RUNNING
            row.started = _now()
            row.done, row.doing = 0.0, "starting"
        return row

    def progress(self, audit_id: str, doing: str, done: float) -> None:
        """Keep how far a running audit is."""
        with self.database.write() as session:
            session.execute(
                update(AuditRow)
                .where(AuditRow.id == audit_id, AuditRow.state == State.RUNNING)
                .values(doing=doing, done=done)
            )

    def finish(self, audit_id: str, document: dict[str, Any]) -> None:
        """Keep the verdict of a running audit; an audit that has ended keeps what it has."""
        with self.database.write() as session:
            if _end(session, audit_id, state=State.FINISHED, done=1.0, doing="done"):
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

    def error(self, audit_id: str, *, kind: str, message: str) -> None:
        """End an audit that could not be carried out, with the reason."""
        with self.database.write() as session:
            _end(
                session,
                audit_id,
                state=State.ERRORED,
                problem_kind=kind,
                problem_message=message,
            )

    def unfinished(self) -> list[str]:
        """Audits that wait or run, oldest first."""
        with self.database.read() as session:
            query = select(AuditRow.id).where(AuditRow.state.in_((State.QUEUED, State.RUNNING)))
            return list(session.scalars(query.order_by(AuditRow.created)))


def _end(session: Session, audit_id: str, **values: object) -> bool:
    """End an audit once: False when it had ended, so that nobody can say a second word."""
    query = (
        update(AuditRow)
        .where(AuditRow.id == audit_id, AuditRow.state.in_((State.QUEUED, State.RUNNING)))
        .values(finished=_now(), **values)
        .returning(AuditRow.id)
    )
    return session.scalar(query) is not None


def _now() -> datetime:
    return datetime.now(UTC)
