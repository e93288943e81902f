import hashlib
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from api import search
from api.app import Service
from api.blobs import Blobs
from api.db import Database
from api.errors import StartError
from api.search import Wanted
from api.settings import Settings
from api.store import Store
from api.tables import AuditRow, Base
from tests.api.conftest import accept
from tests.api.test_search import verdict


@pytest.fixture
def url(make_database: Callable[[], str], tmp_path: Path) -> str:
    return make_database() or f"sqlite:///{tmp_path / 'x.sqlite'}"


def test_the_migrations_make_the_tables_that_the_code_has(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.migrate()
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_many_writers_and_readers_share_the_database(url: str, tmp_path: Path) -> None:
    database = Database(url)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(10):
                audit_id = accept(store)
                assert store.start(audit_id, 3)
                store.progress(audit_id, "working", 0.5)
                assert audit_id in {job.audit_id for job in store.unfinished(1000)}
        except Exception as error:  # noqa: BLE001 - a thread's error is the test's
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with database.read() as session:
        assert session.query(AuditRow).filter_by(doing="working").count() == 40
    database.close()


def test_only_the_newest_attempt_may_say_a_verdict(url: str, tmp_path: Path) -> None:
    database = Database(url)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    audit_id = accept(store)
    first, second = store.start(audit_id, 3, "lost"), store.start(audit_id, 3, "living")
    assert first
    assert second
    document = verdict("pass", 1.2, [1.2])
    store.progress(audit_id, "from the grave", 0.9, first.attempts)
    assert not store.finish(audit_id, document, first.attempts)
    store.error(audit_id, kind="tool", message="from the grave", attempt=first.attempts)
    assert store.still_ours("lost") == set()
    with database.read() as session:
        row = session.get_one(AuditRow, audit_id)
        assert (row.state, row.doing) == ("running", "starting")
    assert store.finish(audit_id, document, second.attempts)
    assert not store.finish(audit_id, document, second.attempts)
    database.close()


def test_text_that_a_database_has_no_form_for_is_kept_all_the_same(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    odd = "a\0b\ud800c"
    audit_id = accept(store, odd)
    store.start(audit_id, 3)
    store.progress(audit_id, odd, 0.5)
    assert store.finish(audit_id, verdict("fail", None, [], folder=odd))
    with database.read() as session:
        row = session.get_one(AuditRow, audit_id)
        assert row.name == "a\\0b\\ud800c"
        assert row.verdict
        assert search.verdicts(session, Wanted(text="\0"), 10, None)[0]
    database.close()


def test_a_silent_worker_counts_as_lost_by_the_clock_of_the_database(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    assert store.beat("a", 10) == {"a"}
    assert store.beat("b", 10) == {"a", "b"}
    time.sleep(0.3)
    assert store.beat("b", 0.2) == {"b"}
    store.leave("b")
    assert store.beat("c", 10) == {"a", "c"}
    database.close()


def test_an_interrupted_write_leaves_no_archive(tmp_path: Path) -> None:
    left = tmp_path / ".incoming-abc"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    blobs = Blobs(tmp_path)
    assert list(tmp_path.iterdir()) == []
    sha256 = hashlib.sha256(b"whole").hexdigest()
    blobs.put(io.BytesIO(b"whole"), sha256)
    assert blobs.get(sha256) == b"whole"


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'strict-prefix.sqlite'}")
    database.migrate()
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StartError, match="a newer release"):
        Service(Settings(data=tmp_path))
