"""The database, SQLite or PostgreSQL: connections, transactions, migrations."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_MILLISECONDS = 10_000
"""How long a writer waits for another; writes here take milliseconds."""
CONNECTIONS = 32
"""At most, of one process. A request uses one, and for a moment a second one; half are for them."""
FRESH_SECONDS = 1.0
"""A connection that was used so long ago is still there."""
MIGRATING = 7_245_001
WATCHING = 7_245_002
"""Keys of PostgreSQL's advisory locks: one process at a time migrates, one looks for lost jobs."""
TURNS = 7_245_003
"""Space of advisory locks, one a name."""
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database and its two kinds of transaction."""

    def __init__(self, url: str) -> None:
        """Connect lazily; `migrate` makes the tables."""
        self.embedded = make_url(url).get_backend_name() == "sqlite"
        """SQLite: one process has the file."""
        # Kept once they are open: to open one takes longer than what is done with it.
        self._engine = create_engine(url, pool_size=CONNECTIONS, max_overflow=0)
        if self.embedded:
            _share(self._engine)
        else:
            _try_out(self._engine)
        # Told apart when the transaction begins: a reader must not wait for the writer's lock.
        self._writing = self._engine.execution_options(writing=True)
        # Rows stay readable after their transaction: routes and jobs pass them on.
        self._read = sessionmaker(self._engine, expire_on_commit=False)
        self._write = sessionmaker(self._writing, expire_on_commit=False)

    @staticmethod
    def embedded_url(folder: Path) -> str:
        """The address of the SQLite file in a data folder."""
        return f"sqlite:///{folder / 'strict-prefix.sqlite'}"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end; on SQLite it holds the write lock from the start."""
        with self._write.begin() as session:
            yield session

    @contextmanager
    def alone(self, key: int) -> Iterator[bool]:
        """True while no other process does what this key stands for; SQLite has no other."""
        if self.embedded:
            yield True
            return
        with self._engine.begin() as connection:
            query = text("SELECT pg_try_advisory_xact_lock(:key)")
            yield bool(connection.scalar(query, {"key": key}))

    def take_turns(self, session: Session, what: str) -> None:
        """Until the end of the transaction nobody else does this; SQLite has one writer anyway."""
        if not self.embedded:
            query = text("SELECT pg_advisory_xact_lock(:space, hashtext(:what))")
            session.execute(query, {"space": TURNS, "what": what})

    def seconds(self, session: Session) -> float:
        """The database's clock, which all processes share."""
        query = "SELECT extract(epoch FROM clock_timestamp())"
        if self.embedded:
            query = "SELECT (julianday('now') - 2440587.5) * 86400.0"
        return float(session.scalar(text(query)) or 0.0)

    def migrate(self, to: str = "head") -> None:
        """Bring the tables to a revision's shape, the newest by default."""
        # Half a second to import, and only a start needs it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self._writing.begin() as connection:
            if not self.embedded:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
            config.attributes["connection"] = connection
            command.upgrade(config, to)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _try_out(engine: Engine) -> None:
    """Notice before its use that the server has closed a connection, unless it has just answered.

    `pool_pre_ping` asks every time, which is a tenth of what a busy service does.
    """

    @event.listens_for(engine, "checkin")
    def used(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - record.info.get("used", 0.0) < FRESH_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _share(engine: Engine) -> None:
    """Let readers and one writer work at the same time, and begin transactions ourselves."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver begins transactions late and never IMMEDIATE; ours begin in `begin` below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another one wrote
        # in between; busy_timeout helps only a transaction that asks for the lock first.
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
