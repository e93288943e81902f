import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import api.jobs
import auditor.audit
from api.app import Service
from api.tables import AuditRow, State
from auditor.audit import Plan, Progress, audit
from auditor.errors import CannotMeasure, ToolError
from auditor.report.json_v1 import verdict_to_json
from auditor.submission import Submission
from auditor.verdict import Verdict
from tests.api.archives import PACKED, RECORD, as_zip
from tests.api.conftest import BROWSER, ended, upload, verdict_of


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
        return service.store.accept(as_zip(), name="x.zip", digest="d", run=False)

    ids = [waiting() for _ in range(3)]
    assert [client.get(f"/v1/audits/{each}").json()["ahead"] for each in ids] == [0, 1, 2]
    for each in ids:
        service.store.error(each, kind="tool", message="this test never queued it")


def test_progress_is_kept_while_an_audit_runs(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def slow(submission: Submission, plan: Plan, progress: Progress) -> Verdict:
        progress("looking closely", 0.25)
        with service.database.read() as session:
            row = session.query(AuditRow).filter_by(state=State.RUNNING).one()
            seen.append({"state": row.state, "doing": row.doing, "done": row.done})
        return audit(submission, plan, progress)

    monkeypatch.setattr(api.jobs, "audit", slow)
    status = ended(client, upload(client).headers["location"])
    assert seen == [{"state": State.RUNNING, "doing": "looking closely", "done": 0.25}]
    assert status["progress"] == {"done": 1.0, "doing": "done"}
    assert status["created"] < status["started"] < status["finished"]


def test_a_run_that_gave_nothing_is_still_a_finished_audit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: object) -> tuple[str, ...]:
        raise CannotMeasure("the script did not end within 300 s")

    monkeypatch.setattr(auditor.audit, "_run", hangs)
    answer = client.post("/v1/audits", files={"archive": ("record.zip", as_zip())})
    assert answer.json()["run"] is True
    document = verdict_of(client, answer.headers["location"])
    assert document["trouble"] == "the script did not end within 300 s"
    assert document["outcome"] != "pass"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ToolError("no sandbox"), {"kind": "tool", "message": "no sandbox"}),
        (KeyError("hush"), {"kind": "internal", "message": "the auditor crashed: KeyError"}),
    ],
)
def test_an_audit_that_cannot_work_is_errored_and_the_next_one_runs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: dict[str, str]
) -> None:
    def broken(*_: object) -> Verdict:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(api.jobs, "audit", broken)
        status = ended(client, upload(client).headers["location"])
    assert (status["state"], status["problem"]) == ("errored", problem)
    assert status["verdict"] is None
    page = client.get(status["links"]["self"], headers=BROWSER).text
    assert "says nothing about the submission" in page
    assert verdict_of(client, upload(client).headers["location"])["outcome"]


def test_an_archive_that_changed_on_disk_is_not_judged(
    client: TestClient, service: Service
) -> None:
    data = as_zip(RECORD | {"note.txt": b"kept once"})
    sha256 = service.store.blobs.put(data)
    blob = service.settings.data / "blobs" / sha256[:2] / sha256
    blob.write_bytes(blob.read_bytes() + b"!")
    status = ended(client, upload(client, data).headers["location"])
    assert status["state"] == "errored"
    assert sha256 in status["problem"]["message"]


def test_a_browser_is_led_from_the_form_to_the_verdict(client: TestClient) -> None:
    assert 'enctype="multipart/form-data"' in client.get("/").text
    files = {"archive": ("<b>&.zip", as_zip())}
    answer = client.post(
        "/v1/audits", files=files, data={"run": "false"}, headers=BROWSER, follow_redirects=False
    )
    assert answer.status_code == 303
    where = answer.headers["location"]
    waiting = client.get(where, headers=BROWSER).text
    assert "&lt;b&gt;&amp;.zip" in waiting
    assert "<b>" not in waiting
    status = ended(client, where)
    done = client.get(where, headers=BROWSER).text
    assert 'http-equiv="refresh"' not in done
    assert status["links"]["verdict"] in done
    assert status["links"]["verdict"] in client.get("/").text


def test_an_unfinished_audit_renews_its_page(service: Service, client: TestClient) -> None:
    waiting = service.store.accept(as_zip(), name="x.zip", digest="d", run=False)
    page = client.get(f"/v1/audits/{waiting}", headers=BROWSER).text
    assert '<meta http-equiv="refresh"' in page
    assert "x.zip" in client.get("/").text
    service.store.error(waiting, kind="tool", message="this test never queued it")
