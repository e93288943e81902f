import hashlib
import io
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from api.app import Service
from api.tables import AuditRow
from auditor.audit import Plan, audit
from auditor.report.json_v1 import verdict_to_json
from auditor.submission import Submission
from tests.api.archives import PACKED, RECORD, as_zip
from tests.api.conftest import (
    BROWSER,
    accept,
    browser,
    ended,
    form_token,
    upload,
    verdict_of,
    wait_for,
)


def test_an_upload_is_taken_and_ends_with_the_verdict_of_the_command(
    client: TestClient, tmp_path: Path
) -> None:
    answer = upload(client)
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["links"]["self"]
    assert answer.json()["state"] == "queued"
    folder = tmp_path / "record"
    folder.mkdir()
    for name, data in RECORD.items():
        (folder / name).write_bytes(data)
    here = verdict_to_json(audit(Submission.load(folder), Plan(run=False)))
    here = json.loads(json.dumps(here))
    there = verdict_of(client, answer.headers["location"])
    assert there["digest"] == here["digest"]
    assert there | {"seconds": 0} == here | {"seconds": 0}


def test_every_packing_of_one_folder_has_one_digest(client: TestClient) -> None:
    answers = [upload(client, data, name) for name, data in PACKED.items()]
    assert len({answer.json()["submission"]["digest"] for answer in answers}) == 1
    assert len({answer.json()["submission"]["archive_sha256"] for answer in answers}) == 4
    documents = [verdict_of(client, answer.headers["location"]) for answer in answers]
    assert len({document["digest"] for document in documents}) == 1


def test_the_same_archive_again_is_a_new_audit_of_one_blob(
    client: TestClient, service: Service
) -> None:
    first, second = upload(client), upload(client, name="other.zip")
    assert first.headers["location"] != second.headers["location"]
    assert [first.json()["submission"]["name"], second.json()["submission"]["name"]] == [
        "record.zip",
        "other.zip",
    ]
    sha256 = first.json()["submission"]["archive_sha256"]
    assert len(list((service.settings.data / "blobs").rglob(sha256))) == 1
    documents = [verdict_of(client, answer.headers["location"]) for answer in (first, second)]
    assert documents[0]["digest"] == documents[1]["digest"]


def test_a_waiting_audit_says_how_many_are_ahead(service: Service, client: TestClient) -> None:
    def waiting() -> str:
        return accept(service.store)

    ids = [waiting() for _ in range(3)]
    assert [client.get(f"/v1/audits/{each}").json()["ahead"] for each in ids] == [0, 1, 2]
    for each in ids:
        service.store.error(each, kind="tool", message="this test never queued it")


def test_progress_is_kept_while_an_audit_runs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", f"hold:{tmp_path / 'gate'}")
    where = upload(client).headers["location"]
    held = wait_for(lambda: client.get(where).json(), lambda seen: seen["progress"]["done"])
    assert held["state"] == "running"
    assert held["progress"] == {"doing": "waiting at the gate", "done": 0.5}
    (tmp_path / "gate").touch()
    status = ended(client, where)
    assert status["progress"] == {"done": 1.0, "doing": "done"}
    assert status["created"] < status["started"] < status["finished"]


def test_a_run_that_gave_nothing_is_still_a_finished_audit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD", "no score")
    files = {"archive": ("record.zip", as_zip())}
    answer = client.post("/v1/audits", files=files, data={"again": "true"})
    assert answer.json()["run"] is True
    document = verdict_of(client, answer.headers["location"])
    assert document["trouble"] == "the script did not end within 300 s"
    assert document["outcome"] != "pass"


@pytest.mark.parametrize(
    ("odd", "kind", "message", "attempts"),
    [
        ("tool:no sandbox", "tool", "no sandbox", 3),
        ("die", "tool", "ended without an answer (exit code 9)", 3),
        ("crash:hush", "internal", "the auditor crashed: KeyError", 1),
    ],
)
def test_an_audit_that_cannot_work_is_errored_and_the_next_one_runs(
    client: TestClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    odd: str,
    kind: str,
    message: str,
    attempts: int,
) -> None:
    monkeypatch.setenv("ODD", odd)
    status = ended(client, upload(client).headers["location"])
    assert (status["state"], status["problem"]["kind"]) == ("errored", kind)
    assert message in status["problem"]["message"]
    assert "hush" not in status["problem"]["message"]
    assert status["verdict"] is None
    assert row(service, status).attempts == attempts
    page = client.get(status["links"]["self"], headers=BROWSER).text
    assert "says nothing about the submission" in page
    monkeypatch.delenv("ODD")
    assert verdict_of(client, upload(client).headers["location"])["outcome"]


def test_a_tool_error_that_goes_away_costs_an_attempt_and_no_verdict(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", f"tool once:{tmp_path / 'mark'}")
    status = ended(client, upload(client).headers["location"])
    assert status["state"] == "finished"
    assert row(service, status).attempts == 2


def test_a_cancelled_audit_ends_at_once_and_so_does_its_process(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", f"hold:{tmp_path / 'gate'}")
    where = upload(client).headers["location"]
    waiting = upload(client).headers["location"]
    wait_for(lambda: client.get(where).json(), lambda seen: seen["progress"]["done"])
    assert len(children()) == 1
    for each in (waiting, where):
        assert client.post(f"{each}/cancel").json()["state"] == "cancelled"
    wait_for(children, lambda left: not left)
    status = client.get(where).json()
    assert (status["state"], status["verdict"], status["problem"]) == ("cancelled", None, None)
    assert "somebody cancelled" in client.get(where, headers=BROWSER).text
    assert client.post(f"{where}/cancel").status_code == 409
    monkeypatch.delenv("ODD")
    assert verdict_of(client, upload(client).headers["location"])["outcome"]
    assert row(service, client.get(waiting).json()).attempts == 0


def children() -> list[str]:
    """The processes of audits that this process has started."""
    command = ["ps", "--ppid", str(os.getpid()), "-o", "args="]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    return [line for line in said.splitlines() if "tests.api.odd_child" in line]


def row(service: Service, status: dict[str, Any]) -> AuditRow:
    with service.database.read() as session:
        return session.get_one(AuditRow, status["id"])


def test_an_audit_is_judged_by_the_ruleset_that_was_asked_for(client: TestClient) -> None:
    def hand_in(ruleset: str) -> Response:
        files = {"archive": ("record.zip", as_zip())}
        fields = {"run": "false", "again": "true", "ruleset": ruleset}
        return client.post("/v1/audits", files=files, data=fields)

    names = [each["name"] for each in client.get("/v1/rulesets").json()]
    assert len(names) > 1
    for name in names:
        answer = hand_in(name)
        assert answer.json()["ruleset"] == name
        assert verdict_of(client, answer.headers["location"])["ruleset"] == name
    refused = hand_in("1999-01-01")
    assert refused.status_code == 422
    assert "expected one of 2026-" in refused.json()["detail"]


def test_rules_come_with_their_documentation(client: TestClient) -> None:
    rules = {each["id"]: each for each in client.get("/v1/rules").json()}
    assert "Innocent:" in rules["strict-prefix"]["documentation"]


def test_a_request_that_is_sent_again_is_one_audit(client: TestClient) -> None:
    def hand_in(_: int) -> Response:
        return upload(client, headers={"idempotency-key": "once"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(hand_in, range(16)))
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    other = upload(client, as_zip(RECORD | {"more": b""}), headers={"idempotency-key": "once"})
    assert other.status_code == 422
    assert other.json()["type"] == "urn:strict-prefix:problem:other-request"
    assert answers[0].json()["id"] in other.json()["detail"]


def test_the_same_question_gets_the_verdict_there_is(client: TestClient) -> None:
    def ask(name: str = "same.zip", **fields: str) -> Response:
        archive = as_zip(RECORD | {"note.txt": b"asked twice"})
        fields = {"run": "false", **fields}
        return client.post("/v1/audits", files={"archive": (name, archive)}, data=fields)

    first = ask()
    assert first.status_code == 202
    ended(client, first.headers["location"])
    second = ask()
    assert (second.status_code, second.json()["state"]) == (200, "finished")
    assert second.headers["location"] == first.headers["location"]
    for other in (ask(again="true"), ask("other.zip"), ask(ruleset="2026-03-27")):
        assert other.status_code == 202
        assert other.headers["location"] != first.headers["location"]
        ended(client, other.headers["location"])


def test_a_verdict_without_its_run_is_not_the_last_word(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD", "no score")
    files = {"archive": ("trouble.zip", as_zip())}
    ended(client, client.post("/v1/audits", files=files).headers["location"])
    assert client.post("/v1/audits", files=files).status_code == 202


def test_an_archive_that_changed_on_disk_is_not_judged(
    client: TestClient, service: Service
) -> None:
    data = as_zip(RECORD | {"note.txt": b"kept once"})
    sha256 = hashlib.sha256(data).hexdigest()
    service.store.blobs.put(io.BytesIO(data), sha256)
    blob = service.settings.data / "blobs" / sha256[:2] / sha256
    blob.write_bytes(blob.read_bytes() + b"!")
    status = ended(client, upload(client, data).headers["location"])
    assert status["state"] == "errored"
    assert sha256 in status["problem"]["message"]


def test_a_browser_is_led_from_the_form_to_the_verdict(service: Service) -> None:
    client = browser(service)
    assert 'enctype="multipart/form-data"' in client.get("/").text
    files = {"archive": ("<b>&.zip", as_zip())}
    fields = {"run": "false", **form_token(client)}
    answer = client.post(
        "/v1/audits", files=files, data=fields, headers=BROWSER, follow_redirects=False
    )
    assert answer.status_code == 303
    where = answer.headers["location"]
    waiting = client.get(where, headers=BROWSER).text
    assert "&lt;b&gt;&amp;.zip" in waiting
    assert "<b>" not in waiting
    status = ended(client, where)
    done = client.get(where, headers=BROWSER).text
    assert 'http-equiv="refresh"' not in done
    assert status["links"]["page"] in done
    assert status["links"]["page"] in client.get("/").text


def test_an_unfinished_audit_renews_its_page(service: Service, client: TestClient) -> None:
    waiting = accept(service.store)
    page = client.get(f"/v1/audits/{waiting}", headers=BROWSER).text
    assert '<meta http-equiv="refresh"' in page
    assert "x.zip" in client.get("/").text
    service.store.error(waiting, kind="tool", message="this test never queued it")
