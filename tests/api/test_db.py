import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from api.app import Service
from api.db import Database
from api.errors import StartError
from api.settings import Settings
from api.store import Blobs, Store
from api.tables import AuditRow, Base
from tests.api.archives import as_zip


def test_the_migrations_make_the_tables_that_the_code_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    database = Database(url)
    database.migrate()
    database.migrate()
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_many_writers_and_readers_share_the_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(10):
                audit_id = store.accept(as_zip(), name="x.zip", digest="d", run=False)
                assert store.start(audit_id, 3)
                store.progress(audit_id, "working", 0.5)
                assert audit_id in store.unfinished()
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


def test_an_interrupted_write_leaves_no_archive(tmp_path: Path) -> None:
    (tmp_path / ".incoming-abc").write_bytes(b"half")
    blobs = Blobs(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert blobs.get(blobs.put(b"whole")) == b"whole"


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'strict-prefix.sqlite'}")
    database.migrate()
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StartError, match="a newer release"):
        Service(Settings(data=tmp_path))
