"""Queues by cost, who comes first in them, and how many are worked on at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.access import Scope
from api.app import Service
from api.settings import Settings
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import Guarded, connect, ended, wait_for
from tests.api.test_errors import assert_problem


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Audits that execute wait for this file."""
    monkeypatch.setenv("ODD", f"hold runs:{tmp_path / 'gate'}")
    return tmp_path / "gate"


@pytest.fixture
def client(tmp_path: Path, make_database: Callable[[], str], gate: Path) -> Iterator[TestClient]:
    settings = Settings(
        data=tmp_path / "data",
        database=make_database(),
        workers=2,
        inspect_workers=1,
        poll_seconds=0.02,
        shutdown_seconds=5,
    )
    with Service(settings, "tests.api.odd_child") as opened, connect(opened) as connected:
        yield connected


def hand_in(client: TestClient, number: int, **fields: str) -> str:
    files = {"archive": ("record.zip", as_zip(RECORD | {"number": str(number).encode()}))}
    answer = client.post("/v1/audits", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def running(client: TestClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/v1/audits?state=running").json()["items"]
    return items


def test_each_queue_has_its_own_places_and_the_first_in_it_is_who_matters_most(
    client: TestClient, gate: Path
) -> None:
    first = [hand_in(client, number) for number in range(2)]
    wait_for(lambda: running(client), lambda seen: len(seen) == 2)
    ranks = ("low", "normal", "high", "normal", "low")
    later = [hand_in(client, 10 + n, priority=rank) for n, rank in enumerate(ranks)]
    ahead = [client.get(where).json()["ahead"] for where in later]
    assert ahead == [3, 1, 0, 2, 4]
    # What only reads does not wait for what executes, and is not counted among it.
    read = ended(client, hand_in(client, 20, run="false", priority="low"))
    assert read["state"] == "finished"
    assert len(running(client)) == 2, "more executions at a time than places"
    gate.touch()
    told = [ended(client, where) for where in (*first, *later)]
    assert {each["state"] for each in told} == {"finished"}
    assert [each["priority"] for each in told[2:]] == list(ranks)
    order = sorted(told[2:], key=lambda each: str(each["started"]))
    assert [each["priority"] for each in order] == ["high", "normal", "normal", "low", "low"]


def test_only_reviewers_come_before_all_others(guarded: Guarded) -> None:
    files = {"archive": ("record.zip", as_zip())}
    fields = {"run": "false", "again": "true", "priority": "high"}

    def ask(scope: Scope, priority: str) -> int:
        return guarded.client.post(
            "/v1/audits",
            files=files,
            data=fields | {"priority": priority},
            headers=guarded.header(scope),
        ).status_code

    assert ask(Scope.SUBMIT, "high") == 403
    assert ask(Scope.SUBMIT, "normal") == 202
    assert ask(Scope.ADMIN, "high") == 202
    assert ask(Scope.SUBMIT, "urgent") == 422


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("experiments", "suffix,magic", "magic"),
        ("budget_seconds", "-1", "budget_seconds"),
        ("budget_seconds", "inf", "budget_seconds"),
        ("budget_seconds", "1e9", "budget_seconds"),
        ("ruleset", "of 1999", "of 1999"),
    ],
)
def test_options_that_no_audit_has_are_named(
    guarded: Guarded, field: str, value: str, named: str
) -> None:
    answer = guarded.client.post(
        "/v1/audits",
        files={"archive": ("record.zip", as_zip())},
        data={field: value},
        headers=guarded.header(Scope.ADMIN),
    )
    assert named in assert_problem(answer, 422, "invalid")


def test_another_question_about_the_same_bytes_is_not_answered_with_the_old_verdict(
    guarded: Guarded,
) -> None:
    archive = as_zip(RECORD | {"asked": b"twice"})

    def ask(**fields: str) -> tuple[int, dict[str, Any]]:
        answer = guarded.client.post(
            "/v1/audits",
            files={"archive": ("record.zip", archive)},
            data={"run": "false"} | fields,
            headers=guarded.header(Scope.ADMIN),
        )
        where = answer.headers["location"]
        wait_for(
            lambda: guarded.client.get(where, headers=guarded.header(Scope.ADMIN)).json(),
            lambda seen: seen["finished"],
        )
        return answer.status_code, answer.json()

    assert ask()[0] == 202
    assert ask()[0] == 200
    code, told = ask(budget_seconds="30", experiments="swap, suffix")
    assert code == 202
    assert told["options"] == {"budget_seconds": 30.0, "experiments": ["suffix", "swap"]}
    # The order in which somebody names them changes nothing.
    assert ask(budget_seconds="30.0", experiments="suffix,swap")[0] == 200
