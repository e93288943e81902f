"""Audits that nobody works on are found, a bounded number at a look."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dbos import DBOS

from api import lost
from api.app import Service
from api.lost import Lost
from api.settings import Settings
from tests.api.conftest import accept


def test_a_long_queue_is_looked_through_bit_by_bit(
    tmp_path: Path, make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost, "AT_A_TIME", 2)
    settings = Settings(data=tmp_path, database=make_database(), workers=0, lease_seconds=600)
    with Service(settings) as service:
        audits = {accept(service.store) for _ in range(5)}
        look = Lost(service.store, ["inspect", "audits"], service.jobs.put, service.jobs.worker)

        def queued() -> set[str]:
            return {job.workflow_id[:-2] for job in DBOS.list_workflows(status="ENQUEUED")}

        counts = []
        for _ in range(3):
            look.take_up({service.jobs.worker}, set())
            counts.append(len(queued()))
        assert counts == [2, 4, 5]
        assert queued() == audits
        # Round again: what has a job gets no second one, what is new is found.
        audits.add(accept(service.store))
        for _ in range(4):
            look.take_up({service.jobs.worker}, set())
        assert queued() == audits
        assert len(DBOS.list_workflows()) == len(audits)
        for audit_id in audits:
            service.store.cancel(audit_id, "local")
        look.take_up({service.jobs.worker}, set())
        assert len(DBOS.list_workflows()) == len(audits)
