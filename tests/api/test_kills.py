"""kill -9 of service, workers and database at random moments, under load.

make kills                                  the long version, which prints what it did
make kills KILLS=20 SEED=3                  a part of it
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, text

from tests.api.archives import RECORD, as_zip
from tests.api.conftest import wait_for
from tests.api.postgres import Cluster, binaries, cluster
from tests.api.test_process import Live

SETTINGS = {
    "STRICT_PREFIX_POLL_SECONDS": "0.1",
    "STRICT_PREFIX_LEASE_SECONDS": "2",
    "STRICT_PREFIX_ATTEMPTS": "1000",
    "STRICT_PREFIX_SHUTDOWN_SECONDS": "1",
}


@dataclass
class Site:
    """One database, one service without workers, two workers; each can be killed."""

    server: Cluster
    data: Path
    url: str
    environment: dict[str, str] = field(default_factory=dict)
    live: Live | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def serve(self) -> None:
        variables = {**SETTINGS, **self.environment, "STRICT_PREFIX_WORKERS": "0"}
        self.live = Live("api", self.data, STRICT_PREFIX_DATABASE=self.url, **variables)

    def work(self, module: str = "api") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, "worker", "--data", str(self.data)]
        variables = {**os.environ, **SETTINGS, **self.environment}
        worker = subprocess.Popen(
            [*command, "--database", self.url], env=variables, stderr=subprocess.DEVNULL
        )
        self.workers.append(worker)
        return worker

    def kill_worker(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()
        self.workers.remove(worker)

    def kill_service(self) -> None:
        if self.live is not None:
            self.live.stop(signal.SIGKILL)
            self.live = None

    def upload(self, number: int) -> str | None:
        """Hand an archive in; None when nobody said that it was accepted."""
        try:
            assert self.live
            archive = as_zip(RECORD | {"number": str(number).encode()})
            files = {"archive": ("record.zip", archive)}
            answer = self.live.client.post(
                "/v1/audits", files=files, data={"run": "false"}, timeout=10
            )
        except httpx2.HTTPError:
            return None
        return str(answer.json()["id"]) if answer.status_code == 202 else None

    def ask(self, query: str) -> list[tuple[object, ...]]:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    def close(self) -> None:
        self.kill_service()
        for worker in list(self.workers):
            self.kill_worker(worker)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)")
    # A cluster of its own, since it is killed too.
    with cluster() as server:
        made = Site(server, tmp_path / "data", server.new())
        made.serve()
        yield made
        made.close()


def test_a_lost_workers_audit_is_taken_up_by_the_other(site: Site, tmp_path: Path) -> None:
    site.environment = {"ODD": f"hold:{tmp_path / 'gate'}"}
    assert site.live
    first = site.work("tests.api.gated_service")
    where = f"/v1/audits/{site.upload(1)}"
    live = site.live
    wait_for(lambda: live.client.get(where).json(), lambda seen: seen["progress"]["done"])
    site.work("tests.api.gated_service")
    site.kill_worker(first)
    wait_for(lambda: site.ask("SELECT attempts FROM audits"), lambda seen: seen == [(2,)])
    (tmp_path / "gate").touch()
    live.wait(where, "state", "finished")
    assert site.ask("SELECT count(*) FROM verdicts") == [(1,)]


def test_a_database_that_goes_away_is_a_clear_answer_and_the_queue_stays(site: Site) -> None:
    assert site.live
    live, where = site.live, f"/v1/audits/{site.upload(1)}"
    site.server.kill()
    answer = live.client.get(where)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:strict-prefix:problem:database"
    assert answer.json()["request_id"]
    site.server.start()
    assert live.client.get(where).json()["state"] == "queued"
    site.work()
    live.wait(where, "state", "finished")


@pytest.mark.slow
def test_an_audit_whose_database_went_away_in_the_middle_is_begun_again(
    site: Site, tmp_path: Path
) -> None:
    assert site.live
    live = site.live
    site.environment = {"ODD": f"hold:{tmp_path / 'gate'}"}
    site.work("tests.api.gated_service")
    where = f"/v1/audits/{site.upload(1)}"
    wait_for(lambda: live.client.get(where).json(), lambda seen: seen["progress"]["done"])
    site.server.kill()
    # The audit ends while nobody can keep its verdict.
    (tmp_path / "gate").touch()
    time.sleep(3)
    site.server.start()
    live.wait(where, "state", "finished")
    assert site.ask("SELECT count(*) FROM verdicts") == [(1,)]


def endure(site: Site, kills: int, seed: int) -> dict[str, int]:
    """Upload all the time while something dies; what was accepted ends in one verdict each."""
    chance = random.Random(seed)
    accepted: list[str] = []
    asked = 0
    counts = {"service": 0, "worker": 0, "database": 0}
    for _ in range(2):
        site.work()
    for _ in range(kills):
        until = time.monotonic() + chance.uniform(0.2, 1.5)
        while time.monotonic() < until:
            asked += 1
            if audit_id := site.upload(asked):
                accepted.append(audit_id)
            time.sleep(0.3)
        victim = chance.choices(list(counts), [3, 5, 2])[0]
        counts[victim] += 1
        if victim == "service":
            site.kill_service()
            site.serve()
        elif victim == "worker":
            site.kill_worker(chance.choice(site.workers))
            site.work()
        else:
            site.server.kill()
            site.server.start()
            if site.live is None or site.live.process.poll() is not None:
                site.serve()
            for dead in [one for one in site.workers if one.poll() is not None]:
                site.workers.remove(dead)
                site.work()
    states = "SELECT state, count(*) FROM audits GROUP BY state"
    wait_for_quiet(lambda: site.ask(states))
    known = {row[0] for row in site.ask("SELECT id FROM audits WHERE state = 'finished'")}
    others = "SELECT state, problem_kind, problem_message FROM audits WHERE state <> 'finished'"
    assert site.ask(others) == []
    assert set(accepted) <= known, "an accepted submission was lost"
    once = "SELECT count(*), count(DISTINCT audit_id) FROM verdicts"
    assert site.ask(once) == [(len(known), len(known))]
    return {**counts, "asked": asked, "accepted": len(accepted), "verdicts": len(known)}


def wait_for_quiet(look: Callable[[], list[tuple[object, ...]]]) -> None:
    """Until nothing waits or runs; the backlog of a slow machine may take minutes."""
    deadline = time.monotonic() + 900
    while any(state in ("queued", "running") for state, _ in look()):
        assert time.monotonic() < deadline, look()
        time.sleep(0.5)


@pytest.mark.slow
def test_a_few_kills_lose_nothing_and_double_nothing(site: Site) -> None:
    assert endure(site, kills=4, seed=5)["verdicts"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_kills_lose_nothing_and_double_nothing(site: Site) -> None:
    kills, seed = (int(os.environ.get(name, "200")) for name in ("KILLS", "SEED"))
    done = endure(site, kills=kills, seed=seed)
    sys.stderr.write(f"\n{done}\n")
