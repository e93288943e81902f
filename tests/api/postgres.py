"""A real PostgreSQL for the tests: a temporary cluster on a socket, gone with the tests."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text


def binaries() -> Path | None:
    """The folder of initdb and postgres, where Debian and others put them."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@dataclass(frozen=True, slots=True)
class Cluster:
    folder: Path

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def new(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def start(self) -> None:
        self._control("start", "-w", "-l", str(self.folder / "log"), "-o", self._options())

    def kill(self) -> None:
        """As `kill -9` of the server: it recovers from its log at the next start."""
        self._control("stop", "-m", "immediate")

    def _options(self) -> str:
        return f"-k {self.folder} -c listen_addresses= -c max_connections=200"

    def _control(self, *arguments: str) -> None:
        program = binaries()
        assert program
        run(str(program / "pg_ctl"), "-D", str(self.folder / "data"), *arguments)


def run(*command: str) -> None:
    """PostgreSQL refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    # Not a pipe: the server would keep it open.
    subprocess.run(command, user=user, cwd="/", stdout=subprocess.DEVNULL, check=True)


@contextmanager
def cluster() -> Iterator[Cluster]:
    program = binaries()
    assert program
    folder = Path(tempfile.mkdtemp(prefix="sp-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    made = Cluster(folder)
    data = str(folder / "data")
    run(str(program / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
    made.start()
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder)
