"""Audits that no live job stands behind: DBOS leaves the jobs of a lost worker lying.

A look costs the same however long the queue is: jobs that are being worked on are few, and of the
audits that wait it takes the next `AT_A_TIME`, round and round.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from dbos import DBOS

from api.store import Job, Store

AT_A_TIME = 500
"""Audits of one look; who waits behind more than that waits for more than a look anyway."""
WAITING = ("ENQUEUED", "DELAYED")
"""What DBOS calls a job that any worker may take."""

log = logging.getLogger(__name__)


class Lost:
    """Finds them and queues them again; one process at a time looks."""

    def __init__(
        self, store: Store, queues: list[str], put: Callable[[Job], None], worker: str
    ) -> None:
        """Look at the store's audits and at the jobs of these queues, for this worker."""
        self._store, self._queues, self._put, self._worker = store, queues, put, worker
        self._dropped: set[str] = set()
        self._after: str | None = None

    def take_up(self, living: Collection[str], working: Collection[str]) -> None:
        """One look; the workers that live, and the audits that this one is working on."""
        self._resume(living, working)
        self._queue()

    def _resume(self, living: Collection[str], working: Collection[str]) -> None:
        """Jobs that are begun and that nobody works on."""
        dropped: set[str] = set()
        for job in DBOS.list_workflows(
            status="PENDING", queue_name=self._queues, load_input=False, load_output=False
        ):
            audit_id = job.workflow_id.rsplit("-", 1)[0]
            # Ours, and not worked on: its end could not be written while the database was away.
            # Seen twice, because a job is pending a moment before its work begins.
            if job.executor_id == self._worker and audit_id not in working:
                dropped.add(audit_id)
            if job.executor_id not in living or audit_id in dropped & self._dropped:
                log.warning("audit %s: worker %s is lost", audit_id, job.executor_id)
                DBOS.resume_workflow(job.workflow_id, queue_name=job.queue_name)
        self._dropped = dropped

    def _queue(self) -> None:
        """Audits that have not ended and that have no job, or one that has."""
        found = self._store.unfinished(AT_A_TIME, self._after)
        self._after = found[-1].audit_id if len(found) == AT_A_TIME else None
        names = {name_of(job): job for job in found}
        if not names:
            return
        jobs = DBOS.list_workflows(workflow_ids=list(names), load_input=False, load_output=False)
        status = {job.workflow_id: job.status for job in jobs}
        for name, job in names.items():
            if name not in status:
                self._put(job)
            elif status[name] not in (*WAITING, "PENDING") and (
                another := self._store.next_job(job.audit_id)
            ):
                # As when the database was away at its end; the attempts are limited in any case.
                log.warning("audit %s: its job ended as %s", job.audit_id, status[name])
                self._put(replace(job, number=another))


def name_of(job: Job) -> str:
    """What DBOS calls a job."""
    return f"{job.audit_id}-{job.number}"
