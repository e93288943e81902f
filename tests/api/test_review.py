from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.app import Service
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import BROWSER, browser, ended, form_token, upload, wait_for
from tests.api.test_errors import assert_problem


@pytest.fixture
def old(client: TestClient) -> dict[str, Any]:
    """A verdict under the earlier rules, as the list has it."""
    files = {"archive": ("record.zip", as_zip())}
    fields = {"run": "false", "again": "true", "ruleset": "2026-03-27"}
    answer = client.post("/v1/audits", files=files, data=fields)
    status = ended(client, answer.headers["location"])
    return entry(client, status["verdict"]["id"])


def entry(client: TestClient, verdict_id: str) -> dict[str, Any]:
    listed = client.get("/v1/verdicts", params={"superseded": "true", "limit": 200}).json()
    (found,) = [each for each in listed["items"] if each["id"] == verdict_id]
    return dict(found)


def counts(client: TestClient, verdict_id: str) -> bool:
    listed = client.get("/v1/verdicts", params={"limit": 200}).json()["items"]
    return verdict_id in [each["id"] for each in listed]


def outcomes(client: TestClient, verdict_id: str) -> dict[str, str]:
    results = client.get(f"/v1/verdicts/{verdict_id}").json()["results"]
    return {each["rule"]: each["outcome"] for each in results}


def rejudge(client: TestClient, *ids: str, **fields: str) -> Response:
    data = {"verdicts": " ".join(ids), "reason": "a new ruleset", **fields}
    return client.post("/v1/rejudges", data=data)


def done(client: TestClient, where: str) -> dict[str, Any]:
    return wait_for(
        lambda: client.get(where).json(),
        lambda seen: not {"queued", "running"}.intersection(seen["counts"]),
    )


def test_a_set_is_compared_and_applied_and_the_old_verdict_stays(
    client: TestClient, old: dict[str, Any]
) -> None:
    before = client.get(old["links"]["self"]).content
    answer = rejudge(client, old["id"])
    assert answer.status_code == 202
    where = answer.headers["location"]
    seen = done(client, where)
    (difference,) = seen["differences"]
    shown = client.get(where.removeprefix("/v1"), headers=BROWSER)
    assert (shown.status_code, "1 finished" in shown.text) == (200, True)
    new = difference["new_verdict"]
    assert client.get(f"/v1/verdicts/{new}").json()["ruleset"] == "2026-05-02"
    assert (counts(client, old["id"]), counts(client, new)) == (True, False)
    here, there = (
        {
            each["rule"]: each["outcome"]
            for each in client.get(f"/v1/verdicts/{one}").json()["results"]
        }
        for one in (old["id"], new)
    )
    assert difference["changed"] == {
        rule: [here.get(rule), there.get(rule)]
        for rule in here | there
        if here.get(rule) != there.get(rule)
    }
    assert "does not count" in client.get(f"/verdicts/{new}", headers=BROWSER).text
    assert client.post(f"{where}/apply").json()["state"] == "applied"
    assert (counts(client, old["id"]), counts(client, new)) == (False, True)
    assert client.get(old["links"]["self"]).content == before
    assert "is superseded" in client.get(f"/verdicts/{old['id']}", headers=BROWSER).text
    for verb in ("apply", "cancel"):
        assert_problem(client.post(f"{where}/{verb}"), 409, "ended")
    assert "superseded already" in assert_problem(rejudge(client, old["id"]), 409, "ended")


def test_a_cancelled_set_changes_nothing(
    client: TestClient, old: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", f"hold:{tmp_path / 'gate'}")
    where = rejudge(client, old["id"]).headers["location"]
    wait_for(lambda: client.get(where).json(), lambda seen: "running" in seen["counts"])
    assert "have not ended" in assert_problem(client.post(f"{where}/apply"), 409, "ended")
    cancelled = client.post(f"{where}/cancel").json()
    assert (cancelled["state"], cancelled["counts"]) == ("cancelled", {"cancelled": 1})
    assert counts(client, old["id"])
    (tmp_path / "gate").touch()


def test_a_selection_needs_a_filter_and_finds_by_it(
    client: TestClient, old: dict[str, Any]
) -> None:
    assert_problem(client.post("/v1/rejudges", data={"reason": "x"}), 422, "invalid")
    assert "'nothing'" in assert_problem(rejudge(client, "nothing"), 404, "not-found")
    assert_problem(rejudge(client, old["id"], ruleset="1999"), 422, "invalid")
    chosen = {"reason": "x", "from_ruleset": "2026-03-27", "outcome": old["outcome"]}
    answer = client.post("/v1/rejudges", data=chosen)
    assert old["id"] in [each["verdict"] for each in answer.json()["differences"]]
    client.post(f"{answer.headers['location']}/cancel")
    assert_problem(
        client.post("/v1/rejudges", data={"reason": "x", "rule": "nothing"}), 422, "invalid"
    )


def test_an_appeal_is_made_answered_once_and_kept(client: TestClient, old: dict[str, Any]) -> None:
    where = f"{old['links']['self']}/appeals"
    data = {"rule": "packaging", "text": "The README <b>is</b> there.", "evidence": "line 1"}
    made = client.post(where, data=data)
    assert made.status_code == 201
    (appeal,) = made.json()
    assert (appeal["state"], appeal["answer"]) == ("open", None)
    assert appeal["id"] in [each["id"] for each in client.get("/v1/appeals").json()["items"]]
    page = client.get(f"/verdicts/{old['id']}", headers=BROWSER).text
    assert "&lt;b&gt;is&lt;/b&gt;" in page
    answer = f"/v1/appeals/{appeal['id']}/answer"
    said = {"decision": "accepted", "answer": "It is; judged again."}
    assert client.post(answer, data=said).json()["state"] == "accepted"
    assert "has its answer" in assert_problem(client.post(answer, data=said), 409, "ended")
    assert client.get(where).json()[0]["answer"] == "It is; judged again."
    assert_problem(client.post(where, data={"rule": "none", "text": "x"}), 422, "invalid")
    assert_problem(client.post(where, data={"rule": "packaging", "text": ""}), 422, "invalid")
    nowhere = client.post("/v1/appeals/nothing/answer", data=said)
    assert_problem(nowhere, 404, "not-found")


def test_a_note_stays_as_it_was_written(
    client: TestClient, service: Service, old: dict[str, Any]
) -> None:
    where = f"{old['links']['self']}/notes"
    assert client.post(where, data={"text": "seen"}).status_code == 201
    assert [note["text"] for note in client.get(where).json()] == ["seen"]
    with pytest.raises(IntegrityError, match="never changed"), service.database.write() as session:
        session.execute(text("UPDATE notes SET text = 'unseen'"))


def test_the_log_of_actions_has_all_of_it(client: TestClient, old: dict[str, Any]) -> None:
    verdict = old["links"]["self"]
    client.post(f"{verdict}/notes", data={"text": "x"})
    pages, after = [], "/v1/actions?limit=2"
    while after:
        page = client.get(after).json()
        pages += page["items"]
        after = page["next"]
    assert [each["id"] for each in pages] == sorted((each["id"] for each in pages), reverse=True)
    assert pages[0]["verb"] == "note written"
    mine = client.get("/v1/actions", params={"subject": old["audit"]}).json()["items"]
    assert [each["verb"] for each in mine] == ["audit asked for"]


def test_lists_are_read_page_by_page(client: TestClient, old: dict[str, Any]) -> None:
    ended(client, upload(client, as_zip()).headers["location"])  # the ranking is of today's rules
    for where in ("/v1/verdicts?limit=1", "/v1/audits?limit=1", "/v1/verdicts/ranking?limit=1"):
        seen, after = [], where
        while after:
            page = client.get(after).json()
            seen += [each["id"] for each in page["items"]]
            after = page["next"]
        assert len(seen) == len(set(seen)) > 0
        assert client.get(where + "&after=nonsense").status_code == 422
    assert client.get("/v1/audits?state=queued").json()["items"] == []
    assert client.get("/v1/audits?state=none").status_code == 422


def test_every_page_can_be_read(client: TestClient, old: dict[str, Any]) -> None:
    other = ended(client, upload(client, as_zip(RECORD | {"a": b""})).headers["location"])
    for where in (
        "/",
        "/leaderboard",
        "/verdicts",
        "/verdicts?q=record&outcome=fail&rule=packaging",
        f"/verdicts/{old['id']}",
        f"/compare?a={old['id']}&b={other['verdict']['id']}",
        "/rules",
        "/rules/strict-prefix",
        "/appeals",
        "/rejudges",
        "/sign-in",
    ):
        answer = client.get(where, headers=BROWSER)
        assert answer.status_code == 200, where
        assert answer.headers["content-type"].startswith("text/html")
        assert "<script" not in answer.text
    for where in ("/rules/none", "/verdicts/none", "/rejudges/none", "/compare?a=x&b=y"):
        assert client.get(where, headers=BROWSER).status_code == 404, where


def test_a_reviewer_does_it_all_by_forms(service: Service, old: dict[str, Any]) -> None:
    visitor = browser(service)
    page = f"/verdicts/{old['id']}"
    token = form_token(visitor, page)
    verdict = old["links"]["self"]

    def send(where: str, **fields: str) -> str:
        answer = visitor.post(
            where, data={**fields, **token}, headers=BROWSER, follow_redirects=False
        )
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    assert send(f"{verdict}/notes", text="by a form") == f"{page}#notes"
    assert send(f"{verdict}/appeals", rule="packaging", text="wrong") == f"{page}#appeals"
    appeal = visitor.get(f"{verdict}/appeals").json()[0]["id"]
    answered = send(f"/v1/appeals/{appeal}/answer", decision="rejected", answer="it stands")
    assert answered == f"{page}#appeals"
    shown = visitor.get(page, headers=BROWSER).text
    assert "it stands" in shown
    assert "by a form" in shown
    made = send("/v1/rejudges", verdicts=old["id"], reason="by a form")
    assert made.startswith("/rejudges/")
    assert "by a form" in visitor.get(made, headers=BROWSER).text
    done(visitor, f"/v1{made}")
    assert send(f"/v1{made}/apply") == made
