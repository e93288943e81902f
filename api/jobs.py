"""Audits as durable jobs: a job that was taken on ends, whatever happens to the process.

DBOS keeps the queue in a database file of its own. Its workflow holds one step, and the step can be
repeated at any point: `Store.start` counts the attempts and `Store.finish` says a verdict once.
"""

import logging
import threading
import time
from collections.abc import Callable

from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID

from api.settings import Settings
from api.store import Store
from auditor.audit import Plan, Progress, audit
from auditor.errors import SubmissionError, ToolError
from auditor.report.json_v1 import verdict_to_json
from auditor.submission import Submission

PROTOCOL = "audit-jobs-1"
"""What DBOS calls the application version. Pinned: by default it follows the source, and a release
would leave the jobs of the one before it lying. Raised only when old jobs cannot be carried on."""
QUEUE = "audits"
PROGRESS_SECONDS = 0.5
"""A progress row at most this often, unless what is being done changes."""

LIVE = ("ENQUEUED", "PENDING", "DELAYED")
"""What DBOS calls a job that it will still carry out."""

log = logging.getLogger(__name__)


class Jobs:
    """The queue and its worker threads; DBOS allows one in a process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Remember what to work with; `open` starts working."""
        self._settings = settings
        self._store = store
        self._workflow: Callable[[str], None] | None = None
        self._running = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Start the queue, and take up what an earlier process left."""
        DBOS(
            config={
                "name": "strict-prefix",
                "system_database_url": f"sqlite:///{self._settings.data / 'jobs.sqlite'}",
                "application_version": PROTOCOL,
                # Only one process can hold the data folder, so what another left is ours.
                "executor_id": "local",
                # Not pickle: what is read back from the file must not be able to run code.
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "WARNING",
                # Notifications are not used; but closing waits until their next look.
                "notification_listener_polling_interval_sec": self._settings.poll_seconds,
            }
        )

        # Store.start limits the attempts, where the reason can be shown to who asked.
        @DBOS.workflow(name="audit", max_recovery_attempts=None)
        def workflow(audit_id: str) -> None:
            DBOS.run_step({"name": "audit"}, self._perform, audit_id)

        self._workflow = workflow
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._settings.workers,
            polling_interval_sec=self._settings.poll_seconds,
            on_conflict="always_update",
        )
        self._take_up()

    def put(self, audit_id: str) -> None:
        """Queue an audit that the store knows; a second time changes nothing."""
        if self._workflow is None:
            raise ToolError("the job queue is not open")
        with SetWorkflowID(audit_id):
            DBOS.enqueue_workflow(QUEUE, self._workflow, audit_id)

    def close(self) -> bool:
        """Stop taking jobs and wait for running ones; False when one still runs.

        What still runs when the process ends is begun again by the next one.
        """
        # DBOS looks once a second: asked to wait, it takes a second even with nothing to wait for.
        patience = self._settings.shutdown_seconds if self._running else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience)
        self._workflow = None
        return not self._running

    def _take_up(self) -> None:
        """Close the gap between two databases: find the audits that no live job stands behind."""
        for audit_id in self._store.unfinished():
            job = DBOS.get_workflow_status(audit_id)
            if job is None:
                self.put(audit_id)
            elif job.status not in LIVE:
                message = f"its job ended as {job.status} without a verdict"
                self._store.error(audit_id, kind="tool", message=message)

    def _perform(self, audit_id: str) -> None:
        """The step: audit and keep the verdict, or the reason why there is none."""
        with self._lock:
            self._running += 1
        try:
            self._audit(audit_id)
        except (SubmissionError, ToolError) as error:
            kind = "submission" if isinstance(error, SubmissionError) else "tool"
            log.warning("audit %s errored: %s", audit_id, error)
            self._store.error(audit_id, kind=kind, message=str(error))
        except Exception as error:
            # Whatever it was, it ends this job and no other; the log has the traceback.
            log.exception("audit %s crashed", audit_id)
            self._store.error(
                audit_id, kind="internal", message=f"the auditor crashed: {type(error).__name__}"
            )
        finally:
            with self._lock:
                self._running -= 1

    def _audit(self, audit_id: str) -> None:
        """Read the archive back, audit it with the engine of the command, keep the verdict."""
        job = self._store.start(audit_id, self._settings.attempts)
        if job is None:
            return
        submission = Submission.from_archive(self._store.blobs.get(job.submission_sha256), job.name)
        plan = Plan(
            run=job.run,
            sandbox=self._settings.sandbox,
            run_seconds=self._settings.run_seconds,
            run_bytes=self._settings.run_bytes,
        )
        verdict = audit(submission, plan, self._progress_of(audit_id))
        self._store.finish(audit_id, verdict_to_json(verdict))

    def _progress_of(self, audit_id: str) -> Progress:
        """A Progress that is kept, so that it survives the process and any browser tab."""
        last_doing, last_time = "", 0.0

        def keep(doing: str, done: float) -> None:
            nonlocal last_doing, last_time
            now = time.monotonic()
            if doing != last_doing or now - last_time >= PROGRESS_SECONDS:
                self._store.progress(audit_id, doing, min(max(done, 0.0), 1.0))
                last_doing, last_time = doing, now

        return keep
