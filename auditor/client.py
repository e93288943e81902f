"""The service from Python: hand a record in, follow its audit, read the verdict.

    with Client("https://audit.example.org", key=os.environ["STRICT_PREFIX_API_KEY"]) as client:
        audit = client.submit(*pack("my_record"))
        document = client.verdict(client.wait(audit.id))

Needs the extra `client`. A request that got no answer is sent again, under an Idempotency-Key where
it would change something, so that it is done once.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from auditor.errors import ToolError
from auditor.packing import pack
from auditor.report.entries import is_verdict

__all__ = ["Audit", "Client", "ServerError", "Wish", "pack"]

TRIES = 5
"""Of one request that got no answer, or the answer that the service is busy."""
WAIT_SECONDS = 0.5
"""Before the second try; doubles each time, unless the service says how long."""
MOST_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 60.0
BUSY = (429, 502, 503, 504)
ENDED = ("finished", "errored", "cancelled")


class ServerError(ToolError):
    """The service refused a request, or could not be reached."""

    def __init__(self, message: str, status: int | None = None, kind: str = "") -> None:
        """Keep the HTTP status and the last part of the problem's type."""
        super().__init__(message)
        self.status, self.kind = status, kind


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit, as the service tells it."""

    id: str
    state: str
    """queued, running, finished, errored or cancelled."""
    doing: str
    done: float
    """0 to 1."""
    ahead: int
    """Audits that wait before this one."""
    verdict_id: str | None
    outcome: str | None
    """Of the verdict: pass, fail or inconclusive."""
    problem: str | None
    """Why an errored audit has no verdict."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Read the answer of the service."""
        verdict, problem = status["verdict"], status["problem"]
        return cls(
            id=status["id"],
            state=status["state"],
            doing=status["progress"]["doing"],
            done=status["progress"]["done"],
            ahead=status["ahead"],
            verdict_id=verdict and verdict["id"],
            outcome=verdict and verdict["outcome"],
            problem=problem and f"{problem['kind']}: {problem['message']}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an audit is to do; None leaves it to the service."""

    run: bool = True
    ruleset: str | None = None
    again: bool = False
    """Audit even if there is a verdict already."""
    experiments: frozenset[str] | None = None
    budget_seconds: float | None = None
    priority: str | None = None
    """low, normal, or high, which needs the scope review."""

    def fields(self) -> dict[str, str]:
        """As a form has them."""
        given = {
            "ruleset": self.ruleset,
            "priority": self.priority,
            "budget_seconds": self.budget_seconds,
            "experiments": ",".join(sorted(self.experiments or ())) or None,
        }
        said = {name: str(value) for name, value in given.items() if value is not None}
        return {"run": str(self.run).lower(), "again": str(self.again).lower(), **said}

    def members(self) -> dict[str, Any]:
        """As JSON has them."""
        given = {
            "ruleset": self.ruleset,
            "priority": self.priority,
            "budget_seconds": self.budget_seconds,
            "experiments": None if self.experiments is None else sorted(self.experiments),
        }
        said = {name: value for name, value in given.items() if value is not None}
        return {"run": self.run, "again": self.again, **said}


DEFAULT_WISH = Wish()


class Client:
    """A connection to one service."""

    def __init__(
        self, server: str, key: str | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        """Connect lazily; the key goes to this server alone, since nothing is redirected."""
        headers = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx2.Client(
            base_url=server, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport
        )

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def submit(
        self,
        archive: bytes,
        name: str,
        wish: Wish = DEFAULT_WISH,
        *,
        batch: str | None = None,
        idempotency_key: str | None = None,
    ) -> Audit:
        """Hand an archive in; the same one again gives the verdict there is, unless `again`."""
        fields = wish.fields() | ({} if batch is None else {"batch": batch})
        answer = self._ask(
            "POST",
            "/v1/audits",
            files={"archive": (name, archive)},
            data=fields,
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        return Audit.of(answer.json())

    def submit_from_git(
        self,
        git: str,
        ref: str,
        folder: str,
        wish: Wish = DEFAULT_WISH,
        *,
        batch: str | None = None,
        idempotency_key: str | None = None,
    ) -> Audit:
        """Have the service fetch a folder of a repository, at an address that it allows."""
        body = {"git": git, "ref": ref, "folder": folder, **wish.members()}
        answer = self._ask(
            "POST",
            "/v1/audits",
            json=body if batch is None else body | {"batch": batch},
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        return Audit.of(answer.json())

    def audit(self, audit_id: str) -> Audit:
        """Where an audit is."""
        return Audit.of(self._ask("GET", f"/v1/audits/{audit_id}").json())

    def unended(self, batch: str) -> tuple[set[str], int]:
        """The audits of a batch that wait or run, and how many run."""
        found: list[set[str]] = []
        # In this order: what begins to run between the two is in one of them at least.
        for state in ("queued", "running"):
            ids: set[str] = set()
            where: str | None = f"/v1/audits?batch={batch}&state={state}&limit=200"
            while where is not None:
                page = self._ask("GET", where).json()
                ids.update(item["id"] for item in page["items"])
                where = page["next"]
            found.append(ids)
        return found[0] | found[1], len(found[1])

    def cancel(self, audit_id: str) -> Audit:
        """End an audit that waits or runs."""
        return Audit.of(self._ask("POST", f"/v1/audits/{audit_id}/cancel").json())

    def events(self, audit_id: str) -> Iterator[Audit]:
        """The audit at every change until it has ended; a lost connection is made again."""
        seen, tries = "", 0
        while True:
            try:
                for number, audit in self._told(audit_id, seen):
                    seen, tries = number, 0
                    yield audit
                    if audit.ended:
                        return
            except httpx2.TransportError as error:
                tries += 1
                if tries >= TRIES:
                    raise ServerError(f"the service does not answer: {error}") from error
            time.sleep(WAIT_SECONDS * 2**tries)

    def wait(self, audit_id: str, progress: Callable[[Audit], None] | None = None) -> Audit:
        """Follow an audit to its end; ToolError when it has no verdict then."""
        for audit in self.events(audit_id):
            if progress is not None:
                progress(audit)
        if audit.problem is not None:
            raise ToolError(f"audit {audit_id} could not be carried out: {audit.problem}")
        if audit.verdict_id is None:
            raise ToolError(f"audit {audit_id} has no verdict: it is {audit.state}")
        return audit

    def verdict(self, audit: Audit) -> dict[str, Any]:
        """The verdict v1 document of a finished audit; ToolError when it was changed on the way."""
        if audit.verdict_id is None:
            raise ToolError(f"audit {audit.id} has no verdict: it is {audit.state}")
        document: dict[str, Any] = self._ask("GET", f"/v1/verdicts/{audit.verdict_id}").json()
        if not is_verdict(document):
            raise ToolError(f"the verdict on audit {audit.id} is not whole: its digest is another")
        return document

    def _told(self, audit_id: str, seen: str) -> Iterator[tuple[str, Audit]]:
        """The events of one connection, each with its id."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
        with self._http.stream("GET", f"/v1/audits/{audit_id}/events", headers=headers) as answer:
            if answer.status_code in BUSY:
                raise httpx2.ReadError(f"it is busy (HTTP {answer.status_code})")
            if not answer.is_success:
                answer.read()
                raise _refused(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    yield fields.get("id", seen), Audit.of(json.loads(fields["data"]))
                    fields = {}

    def _ask(self, method: str, where: str, **more: Any) -> httpx2.Response:
        """One request, again while nobody answers or the service is busy."""
        wait = WAIT_SECONDS
        for left in reversed(range(TRIES)):
            try:
                answer = self._http.request(method, where, **more)
            except httpx2.TransportError as error:
                if not left:
                    raise ServerError(f"the service does not answer: {error}") from error
            except (httpx2.InvalidURL, UnicodeError) as error:
                raise ServerError(f"{self._http.base_url} is no address: {error}") from error
            else:
                if answer.status_code not in BUSY or not left:
                    break
                stated = answer.headers.get("retry-after", "")
                wait = float(stated) if stated.isdecimal() else wait
                if wait > MOST_WAIT_SECONDS:
                    break
            time.sleep(wait)
            wait *= 2
        if not answer.is_success:
            raise _refused(answer)
        return answer


def _refused(answer: httpx2.Response) -> ServerError:
    """What the service said when it refused, as one sentence."""
    try:
        problem = dict(answer.json())
        kind = str(problem["type"]).rsplit(":", 1)[-1]
        said = f"{problem['title']}: {problem['detail']} (request {problem.get('request_id')})"
    except (ValueError, KeyError, TypeError):
        kind, said = "", f"it answered HTTP {answer.status_code}, which no such service does"
    return ServerError(said, answer.status_code, kind)
