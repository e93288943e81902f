"""Figures for Prometheus: requests of this process, and the state of the whole service."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.db import Database
from api.tables import AuditRow, State, VerdictRow, WorkerRow

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The registry of one application."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        """Count from nothing; what is in the database is read when somebody asks."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "strict_prefix_requests",
            "Answers.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "strict_prefix_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.registry.register(_State(database, lease_seconds))


class _State(Collector):
    """What all processes share."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database, self._lease_seconds = database, lease_seconds

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: the registry must not ask the database before anybody else does."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the figures, in one transaction."""
        with self._database.read() as session:
            states = dict.fromkeys(State, 0)
            query = select(AuditRow.state, func.count()).group_by(AuditRow.state)
            states.update({State(state): count for state, count in session.execute(query)})
            oldest = session.scalar(
                select(func.min(AuditRow.created)).where(AuditRow.state == State.QUEUED)
            )
            outcomes = session.execute(
                select(VerdictRow.outcome, func.count()).group_by(VerdictRow.outcome)
            ).all()
            since = self._database.seconds(session) - self._lease_seconds
            workers = session.scalar(
                select(func.count()).select_from(WorkerRow).where(WorkerRow.seen >= since)
            )
        audits = GaugeMetricFamily("strict_prefix_audits", "Audits.", labels=["state"])
        for state, count in states.items():
            audits.add_metric([state], count)
        verdicts = GaugeMetricFamily("strict_prefix_verdicts", "Verdicts.", labels=["outcome"])
        for outcome, count in outcomes:
            verdicts.add_metric([outcome], count)
        waited = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        yield audits
        yield verdicts
        yield GaugeMetricFamily(
            "strict_prefix_oldest_queued_seconds", "Wait of who waits longest.", value=waited
        )
        yield GaugeMetricFamily(
            "strict_prefix_processes", "Processes with a sign of life.", value=workers or 0
        )


class Measure:
    """Counts and times every answer by its route, never by its address."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Guard this application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time the answer; a stream is as long as somebody listens, so it is not timed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "500"

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(scope["method"], route, status).inc()
            if not route.endswith("/events"):
                self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
