"""The service: what it holds open while it runs, and the application on top of it."""

import fcntl
import os
from types import TracebackType
from typing import Self

from alembic.util import CommandError
from fastapi import Depends, FastAPI
from sqlalchemy.exc import SQLAlchemyError

from api import errors
from api.access import Rates
from api.blobs import blobs_of
from api.callbacks import Callbacks
from api.db import CONNECTIONS, Database
from api.errors import StartError
from api.jobs import Jobs
from api.keys import Keys
from api.metrics import Measure, Metrics
from api.middleware import FORM_BYTES, AddHeaders, LimitBody, TakeTurns
from api.routes import (
    audits,
    board,
    events,
    from_git,
    log,
    pages,
    review,
    rules,
    session,
    verdict_page,
    verdicts,
)
from api.routes.dependencies import own_page, right_host
from api.settings import Settings
from api.store import Store
from api.web.drawn import Drawn
from auditor import __version__
from auditor.errors import ToolError
from auditor.keys import private_key


class Service:
    """The data folder while this process has it: database, archives, jobs."""

    def __init__(self, settings: Settings, child: str = "api.child") -> None:
        """Open everything; StartError says in one sentence what is in the way.

        `child` is the module that audits, in processes of its own.
        """
        self.settings = settings
        try:
            self.signing_key = private_key(None)
        except ToolError as error:
            raise StartError(str(error)) from error
        data = settings.data
        self._lock: int | None = None
        try:
            data.mkdir(parents=True, exist_ok=True)
            if not settings.database:
                self._lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
                self._hold(self._lock)
            self.database = Database(settings.database or Database.embedded_url(data))
            self.database.migrate()
            self.store = Store(self.database, blobs_of(settings))
            self.jobs = Jobs(settings, self.store, child)
            self.jobs.open()
            self.callbacks = Callbacks(self.database, settings)
            self.callbacks.open()
            self.scratch = self.jobs.scratch
        except OSError as error:
            raise StartError(
                f"{data}: expected a folder that can be written to, but {error.strerror}"
            ) from error
        except CommandError as error:
            raise StartError(f"{data}: a newer release made this database: {error}") from error
        except SQLAlchemyError as error:
            reason = str(error).splitlines()[0]
            where = "the database" if settings.database else str(data)
            raise StartError(f"{where}: a database cannot be opened: {reason}") from error

    def __enter__(self) -> Self:
        """Nothing more to do: it is open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> bool:
        """Stop working and give the data folder back; False when an audit still runs."""
        self.callbacks.close()
        idle = self.jobs.close()
        self.database.close()
        if idle and self._lock is not None:
            os.close(self._lock)
        return idle

    def _hold(self, lock: int) -> None:
        """Keep other processes out: each would take up the jobs that the other is working on."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StartError(
                f"{self.settings.data}: another running service has this data folder"
            ) from error


def create_app(service: Service) -> FastAPI:
    """The application of an open service."""
    # FastAPI's own pages for the API load scripts from elsewhere; /openapi.json is all of it.
    app = FastAPI(
        title="Strict Prefix",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        form_limits={"max_files": 1, "max_fields": 8},
        dependencies=[Depends(right_host), Depends(own_page)],
    )
    app.state.settings = service.settings
    app.state.store = service.store
    app.state.signing_key = service.signing_key
    app.state.jobs = service.jobs
    app.state.keys = Keys(service.database, service.settings)
    app.state.rates = Rates()
    app.state.drawn = Drawn()
    for noun in (
        pages,
        board,
        verdict_page,
        session,
        from_git,
        audits,
        events,
        verdicts,
        log,
        rules,
        review,
    ):
        app.include_router(noun.router)
    app.include_router(audits.batches)
    errors.install(app)
    metrics = Metrics(service.database, service.settings.lease_seconds)
    app.state.metrics = metrics
    app.add_middleware(TakeTurns, most=CONNECTIONS // 2)
    app.add_middleware(Measure, metrics=metrics)
    app.add_middleware(LimitBody, limit=service.settings.max_upload_bytes + FORM_BYTES)
    app.add_middleware(AddHeaders)
    return app
