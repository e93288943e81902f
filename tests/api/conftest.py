import copy
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from api.access import Scope
from api.app import Service, create_app
from api.keys import Keys
from api.settings import Settings
from api.store import Asked, Store
from tests.api.archives import as_zip
from tests.api.postgres import Cluster, binaries, cluster

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PATIENCE_SECONDS = 40.0
T = TypeVar("T")


ALWAYS_ON_BOTH = ("test_db.py", "test_search.py")
"""Files whose SQL differs run on PostgreSQL each time, as test_kills.py; others are slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "[postgresql" in item.name and item.path.name not in ALWAYS_ON_BOTH:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def scrubbed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("STRICT_PREFIX_", "DBOS"))]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)")
    with cluster() as started:
        yield started


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def make_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes the setting `database` of a new, empty one: every test here runs on both."""
    if request.param == "sqlite":
        return lambda: ""
    running: Cluster = request.getfixturevalue("postgres")
    return running.new


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, make_database: Callable[[], str]
) -> Iterator[Service]:
    """One for a file of tests: the first job of a new data folder waits a second for its queue."""
    settings = Settings(
        data=tmp_path_factory.mktemp("service") / "data",
        database=make_database(),
        poll_seconds=0.02,
        retry_seconds=0.01,
        shutdown_seconds=5,
    )
    with Service(settings, "tests.api.odd_child") as opened:
        yield opened


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with connect(service) as connected:
        yield connected


class Guarded:
    """A service that is not on loopback alone, its client, and a key for each scope."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.client = connect(service)
        self.keys = Keys(service.database, service.settings)
        self.shown = {scope: self.keys.create(f"for {scope}", [scope]) for scope in Scope}

    def header(self, scope: Scope) -> dict[str, str]:
        return {"authorization": f"Bearer {self.shown[scope].text}"}

    def upload(self, scope: Scope) -> Response:
        return upload(self.client, headers=self.header(scope))


@pytest.fixture(scope="module")
def guarded(service: Service) -> Guarded:
    closed = copy.copy(service)
    update = {"host": "0.0.0.0", "requests_per_minute": 100_000}
    closed.settings = service.settings.model_copy(update=update)
    return Guarded(closed)


def connect(service: Service) -> TestClient:
    """A client without cookies, as a script is; the address is one that an open service takes."""
    made = browser(service)
    made.event_hooks = {"response": [lambda _: made.cookies.clear()]}
    return made


def browser(service: Service) -> TestClient:
    """A client that keeps its cookies."""
    return TestClient(create_app(service), "http://127.0.0.1", raise_server_exceptions=False)


def form_token(client: TestClient, where: str = "/") -> dict[str, str]:
    """The hidden field of the forms on a page."""
    found = re.search(r'name="form_token" value="(\w+)"', client.get(where, headers=BROWSER).text)
    assert found
    return {"form_token": found[1]}


def upload(
    client: TestClient,
    data: bytes | None = None,
    name: str = "record.zip",
    headers: dict[str, str] | None = None,
) -> Response:
    files = {"archive": (name, as_zip() if data is None else data)}
    fields = {"run": "false", "again": "true"}
    return client.post("/v1/audits", files=files, data=fields, headers=headers)


def accept(store: Store, name: str = "x.zip") -> str:
    """An audit that waits and that nobody has queued."""
    audit_id, new = store.accept(
        io.BytesIO(as_zip()), Asked(name=name, digest="d", run=False, again=True)
    )
    assert new
    return audit_id


def ended(client: TestClient, where: str) -> dict[str, Any]:
    return wait_for(lambda: client.get(where).json(), lambda status: status["finished"])


def wait_for(look: Callable[[], T], good: Callable[[T], Any]) -> T:
    """Look until it is good: the jobs run in threads and processes of their own."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s, last seen: {seen}"
        time.sleep(0.02)
    return seen


def verdict_of(client: TestClient, where: str) -> dict[str, Any]:
    status = ended(client, where)
    assert status["state"] == "finished", status
    document: dict[str, Any] = json.loads(client.get(status["links"]["verdict"]).text)
    return document
