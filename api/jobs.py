"""Audits as durable jobs: a job that was taken on ends, whatever happens to a process.

DBOS keeps the queue: in the service's PostgreSQL, or in an SQLite file of its own. Its workflow
holds one step, and the step can be repeated at any point: `Store.start` counts the attempts, and
only the newest attempt may say something. DBOS leaves the jobs of a lost worker lying; the watch
at the end of this file finds and resumes them (`api.lost`).
"""

import json
import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dbos import DBOS, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID
from sqlalchemy.exc import SQLAlchemyError

from api.apart import CrashError, Stopped, audit_apart
from api.db import WATCHING
from api.lost import Lost, name_of
from api.settings import Settings
from api.store import Job, Store
from api.tables import AuditRow
from auditor.errors import SubmissionError, ToolError

PROTOCOL = "audit-jobs-1"
"""What DBOS calls the application version. Pinned: by default it follows the source, and a release
would leave the jobs of the one before it lying. Raised only when old jobs cannot be carried on."""
READING = "inspect"
RUNNING = "audits"
"""Queues by what an audit costs: to read takes seconds and little memory, to execute minutes and
gigabytes. The second keeps the name it had when there was one queue, with the jobs in it."""
PROGRESS_SECONDS = 0.5
"""A progress row at most this often, unless what is being done changes."""
BEATS = 4
"""Signs of life in one lease."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Work:
    """An attempt that this process is working on."""

    attempt: int
    stop: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The queue, and the workers of this process; DBOS allows one in a process."""

    def __init__(self, settings: Settings, store: Store, module: str = "api.child") -> None:
        """Remember what to work with; `open` starts working. The module is what audits."""
        self.module = module
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._settings = settings
        self._store = store
        self._workflow: Callable[[str], None] | None = None
        self._lost = Lost(store, [READING, RUNNING], self.put, self.worker)
        self._working: dict[str, _Work] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._keep_watch, daemon=True)

    @property
    def scratch(self) -> Path:
        """Folder of what this process's audits lay out."""
        return self._settings.data / "scratch" / self.worker

    def open(self) -> None:
        """Start the queue, and take up what earlier processes left."""
        settings = self._settings
        if self._store.database.embedded:
            # Only one process can hold the data folder: every other worker is gone.
            self._store.leave()
            shutil.rmtree(self.scratch.parent, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        url = settings.database or f"sqlite:///{settings.data / 'jobs.sqlite'}"
        DBOS(
            config={
                "name": "strict-prefix",
                "system_database_url": url,
                "application_version": PROTOCOL,
                "executor_id": self.worker,
                # Not pickle: what is read back from the file must not be able to run code.
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "ERROR",
                # Notifications are not used; but closing waits until their next look.
                "notification_listener_polling_interval_sec": settings.poll_seconds,
            }
        )

        # Store.start limits the attempts, where the reason can be shown to who asked.
        @DBOS.workflow(name="audit", max_recovery_attempts=None)
        def workflow(audit_id: str) -> None:
            DBOS.run_step({"name": "audit"}, self._perform, audit_id)

        self._workflow = workflow
        limits = {READING: settings.readers, RUNNING: settings.workers}
        DBOS.listen_queues([queue for queue, most in limits.items() if most])
        self._store.beat(self.worker, settings.lease_seconds)
        DBOS.launch()
        for queue, most in limits.items():
            if most:
                DBOS.register_queue(
                    queue,
                    worker_concurrency=most,
                    polling_interval_sec=settings.poll_seconds,
                    on_conflict="always_update",
                )
        self._look()
        self._watch.start()

    def put(self, job: Job) -> None:
        """Queue a job of an audit that the store knows; a second time changes nothing."""
        if self._workflow is None:
            raise ToolError("the job queue is not open")
        queue = RUNNING if job.run else READING
        with SetWorkflowID(name_of(job)), SetEnqueueOptions(priority=job.priority):
            DBOS.enqueue_workflow(queue, self._workflow, job.audit_id)

    def close(self) -> bool:
        """Stop taking jobs and wait for running ones; False when one still runs.

        What still runs when the process ends is begun again by another one.
        """
        # DBOS looks once a second: asked to wait, it takes a second even with nothing to wait for.
        patience = self._settings.shutdown_seconds if self._working else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience)
        self._workflow = None
        self._closing.set()
        self._watch.join()
        idle = not self._working
        for work in self._working.values():
            work.stop.set()
        self._store.leave(self.worker)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return idle

    def _perform(self, audit_id: str) -> None:
        """The step: audit and keep the verdict, or the reason why there is none."""
        wait = self._settings.retry_seconds
        while not self._closing.is_set():
            row = self._store.start(audit_id, self._settings.attempts, self.worker)
            if row is None:
                return
            work = _Work(row.attempts)
            with self._lock:
                self._working[audit_id] = work
            try:
                if not self._attempt(row, work):
                    return
                # Only the tool's own trouble may have gone away when it is tried again.
                work.stop.wait(wait)
            finally:
                with self._lock:
                    self._working.pop(audit_id, None)
            wait *= 2

    def _attempt(self, row: AuditRow, work: _Work) -> bool:
        """One attempt; True when it is to be tried again."""
        try:
            with self._store.blobs.lent(row.submission_sha256, self.scratch) as archive:
                document = audit_apart(
                    self._order(row, archive),
                    module=self.module,
                    scratch=self.scratch,
                    seconds=self._settings.audit_seconds,
                    stop=work.stop,
                    progress=self._progress_of(row),
                )
        except Stopped:
            log.info("audit %s stopped", row.id)
            return False
        except (SubmissionError, ToolError, CrashError) as error:
            log.warning("audit %s, attempt %d: %s", row.id, row.attempts, error)
            kinds = {SubmissionError: "submission", ToolError: "tool"}
            if isinstance(error, ToolError) and row.attempts < self._settings.attempts:
                doing = f"waiting to try again: {error}"
                self._store.progress(row.id, doing, 0.0, row.attempts)
                return True
            kind = kinds.get(type(error), "internal")
            self._store.error(row.id, kind=kind, message=str(error), attempt=row.attempts)
            return False
        if not self._store.finish(row.id, document, row.attempts):
            log.warning("audit %s had ended, or another worker has it now", row.id)
        return False

    def _order(self, row: AuditRow, archive: Path) -> dict[str, object]:
        """What the child is told."""
        settings = self._settings
        return {
            "blob": str(archive),
            "sha256": row.submission_sha256,
            "name": row.name,
            "ruleset": row.ruleset,
            "plan": {
                "run": row.run,
                "sandbox": settings.sandbox,
                "run_seconds": settings.run_seconds,
                "run_bytes": settings.run_bytes,
                "together": settings.together,
                **json.loads(row.options),
            },
        }

    def _progress_of(self, row: AuditRow) -> Callable[[str, float], None]:
        """A Progress that is kept, so that it survives the process and any browser tab."""
        last_doing, last_time = "", 0.0

        def keep(doing: str, done: float) -> None:
            nonlocal last_doing, last_time
            now = time.monotonic()
            if doing != last_doing or now - last_time >= PROGRESS_SECONDS:
                self._store.progress(row.id, doing, min(max(done, 0.0), 1.0), row.attempts)
                last_doing, last_time = doing, now

        return keep

    def _keep_watch(self) -> None:
        """Give signs of life, stop what nobody wants any more, find the jobs of lost workers."""
        while not self._closing.wait(self._settings.lease_seconds / BEATS):
            try:
                self._look()
            except SQLAlchemyError as error:
                # The database is away; what runs goes on, and its end is fenced.
                log.warning("cannot reach the database: %s", str(error).splitlines()[0])
            except Exception:
                log.exception("the watch stumbled")

    def _look(self) -> None:
        living = self._store.beat(self.worker, self._settings.lease_seconds)
        self.stop_unwanted()
        with self._store.database.alone(WATCHING) as alone:
            if alone:
                with self._lock:
                    working = set(self._working)
                self._lost.take_up(living, working)

    def stop_unwanted(self) -> None:
        """Stop what was cancelled, and what another worker has taken over."""
        with self._lock:
            mine = list(self._working.items())
        if mine:
            ours = self._store.still_ours(self.worker)
            for audit_id, work in mine:
                if (audit_id, work.attempt) not in ours:
                    work.stop.set()
