import copy
import logging
import re
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.__main__ import main
from api.access import Scope, host_name, is_loopback, key_id_of, new_key
from api.app import Service
from api.settings import Settings
from tests.api.archives import as_zip
from tests.api.conftest import BROWSER, Guarded, browser, connect, form_token, upload
from tests.api.test_errors import assert_problem


@pytest.fixture
def small(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """The same with small limits, and keys of its own."""
    update = {"requests_per_minute": 5, "audits_per_day": 2}
    limited = guarded.service.settings.model_copy(update=update)
    monkeypatch.setattr(guarded.service, "settings", limited)
    return Guarded(guarded.service)


def test_without_a_key_nothing_is_read_and_nothing_is_taken(guarded: Guarded) -> None:
    client = guarded.client
    for answer in (
        upload(client),
        client.get("/v1/rules"),
        client.get("/v1/verdicts/x"),
        client.get("/v1/audits/x"),
        client.get("/v1/rules", headers={"authorization": "Basic eA=="}),
    ):
        assert "key" in assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (
        client.get("/", headers=BROWSER, follow_redirects=False).headers["location"] == "/sign-in"
    )
    assert client.get("/healthz").status_code == 200


def test_verdicts_can_be_public_while_handing_in_is_not(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = guarded.service.settings.model_copy(update={"public_reads": True})
    monkeypatch.setattr(guarded.service, "settings", public)
    client = connect(guarded.service)
    assert client.get("/v1/rules").status_code == 200
    assert client.get("/").status_code == 200
    assert upload(client).status_code == 401


def test_a_wrong_key_is_refused_even_where_none_is_needed(client: TestClient) -> None:
    for wrong in ("", "sp_", "sp_a_b", "sp__", new_key().text):
        header = {"authorization": f"Bearer {wrong}"}
        assert client.get("/v1/rules", headers=header).status_code == 401


def test_scopes_are_kept_apart(guarded: Guarded) -> None:
    assert guarded.upload(Scope.SUBMIT).status_code == 202
    refused = guarded.upload(Scope.REVIEW)
    assert "the scope submit" in assert_problem(refused, 403, "forbidden")
    assert guarded.upload(Scope.ADMIN).status_code == 202


def test_an_audit_is_cancelled_by_who_asked_or_by_a_reviewer(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", f"hold:{tmp_path / 'gate'}")
    client = guarded.client
    mine, theirs = guarded.upload(Scope.SUBMIT), guarded.upload(Scope.ADMIN)

    def cancel(answer: Response, scope: Scope) -> int:
        where = f"{answer.headers['location']}/cancel"
        return client.post(where, headers=guarded.header(scope)).status_code

    assert cancel(theirs, Scope.SUBMIT) == 403
    assert cancel(mine, Scope.SUBMIT) == 200
    assert cancel(theirs, Scope.ADMIN) == 200
    (tmp_path / "gate").touch()


def test_a_revoked_key_and_its_sessions_are_of_no_use(guarded: Guarded) -> None:
    made = guarded.keys.create("soon gone", [Scope.SUBMIT])
    header = {"authorization": f"Bearer {made.text}"}
    visitor = browser(guarded.service)
    token = form_token(visitor, "/sign-in")
    assert visitor.post("/sign-in", data={"key": made.text, **token}).status_code == 200
    assert visitor.get("/v1/rules").status_code == 200
    assert guarded.client.get("/v1/rules", headers=header).status_code == 200
    assert guarded.keys.revoke(made.id)
    assert not guarded.keys.revoke(made.id)
    assert guarded.client.get("/v1/rules", headers=header).status_code == 401
    assert visitor.get("/v1/rules").status_code == 401


def test_a_session_ends_by_itself_and_by_signing_out(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sign_in() -> TestClient:
        visitor = browser(guarded.service)
        key = {"key": guarded.shown[Scope.SUBMIT].text}
        visitor.post("/sign-in", data={**key, **form_token(visitor, "/sign-in")})
        return visitor

    visitor = sign_in()
    assert visitor.get("/v1/rules").status_code == 200
    assert "Sign out" in visitor.get("/").text
    before = dict(visitor.cookies)
    visitor.post("/sign-out", data=form_token(visitor))
    visitor.cookies.update(before)
    assert visitor.get("/v1/rules").status_code == 401
    short = guarded.service.settings.model_copy(update={"session_seconds": 0})
    monkeypatch.setattr(guarded.service, "settings", short)
    late = sign_in()
    assert late.get("/v1/rules").status_code == 401


def test_a_browser_hands_in_from_our_own_page_alone(guarded: Guarded) -> None:
    visitor = browser(guarded.service)
    key = guarded.shown[Scope.SUBMIT].text
    visitor.post("/sign-in", data={"key": key, **form_token(visitor, "/sign-in")})
    files = {"archive": ("record.zip", as_zip())}
    ours = {"run": "false", "again": "true", **form_token(visitor)}
    foreign = {"origin": "https://elsewhere.example"}
    own = {"origin": "http://127.0.0.1"}
    for headers, fields in (
        (foreign, ours),
        ({"origin": "null"}, ours),
        (own, {"run": "false"}),
        (own, {"run": "false", "form_token": "0" * 64}),
    ):
        answer = visitor.post("/v1/audits", files=files, data=fields, headers=headers)
        assert_problem(answer, 403, "forbidden")
    assert visitor.post("/v1/audits", files=files, data=ours, headers=own).status_code == 202
    # Signed in as somebody else: a page of before is not theirs.
    visitor.post("/sign-in", data={"key": key, **form_token(visitor, "/sign-in")})
    assert visitor.post("/v1/audits", files=files, data=ours, headers=own).status_code == 403


def test_an_open_service_is_closed_to_pages_of_other_sites(client: TestClient) -> None:
    files = {"archive": ("record.zip", as_zip())}
    for headers in ({"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}):
        answer = client.post("/v1/audits", files=files, headers=headers)
        assert_problem(answer, 403, "forbidden")
    # A name of theirs that points here, as in DNS rebinding.
    answer = client.get("/v1/rules", headers={"host": "elsewhere.example"})
    assert "elsewhere.example" in assert_problem(answer, 421, "wrong-host")
    assert client.get("/v1/rules", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/v1/rules", headers={"host": "[::1]:8000"}).status_code == 200


def test_a_name_behind_a_proxy_closes_the_service(service: Service) -> None:
    named = copy.copy(service)
    named.settings = service.settings.model_copy(update={"hosts": "audit.example, other.example"})
    client = connect(named)
    headers = {"host": "audit.example"}
    assert client.get("/v1/rules", headers=headers).status_code == 401
    assert client.get("/v1/rules").status_code == 401
    assert client.get("/v1/rules", headers={"host": "elsewhere.example"}).status_code == 421


def test_requests_a_minute_are_limited_for_each_key(small: Guarded) -> None:
    codes = [
        small.client.get("/v1/rules", headers=small.header(Scope.SUBMIT)).status_code
        for _ in range(6)
    ]
    assert codes == [200] * 5 + [429]
    limited = small.client.get("/v1/rules", headers=small.header(Scope.SUBMIT))
    assert_problem(limited, 429, "too-many")
    assert 1 <= int(limited.headers["retry-after"]) <= 60
    other = small.client.get("/v1/rules", headers=small.header(Scope.REVIEW))
    assert other.status_code == 200
    codes = [small.client.get("/v1/rules").status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]


def test_a_day_has_so_many_audits_and_what_is_refused_is_not_kept(small: Guarded) -> None:
    assert [small.upload(Scope.SUBMIT).status_code for _ in range(2)] == [202, 202]
    before = len(list((small.service.settings.data / "blobs").rglob("*")))
    data = as_zip({"new.txt": b"one too many"})
    refused = upload(small.client, data, headers=small.header(Scope.SUBMIT))
    assert "2 audits in 24 hours, the limit of this key is 2" in assert_problem(
        refused, 429, "too-many"
    )
    assert 86_000 < int(refused.headers["retry-after"]) <= 86_400
    assert len(list((small.service.settings.data / "blobs").rglob("*"))) == before
    more = small.keys.create("more", [Scope.SUBMIT], audits_per_day=3)
    header = {"authorization": f"Bearer {more.text}"}
    codes = [upload(small.client, headers=header).status_code for _ in range(4)]
    assert codes == [202, 202, 202, 429]


def test_an_idempotency_key_is_its_owners(guarded: Guarded) -> None:
    def once(scope: Scope) -> str:
        headers = {**guarded.header(scope), "idempotency-key": "mine"}
        return str(upload(guarded.client, headers=headers).json()["id"])

    assert once(Scope.SUBMIT) == once(Scope.SUBMIT) != once(Scope.ADMIN)


def test_every_answer_has_the_id_that_the_log_has(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", client.get("/").headers["x-request-id"])
    given = client.get("/v1/audits/x", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "abc-1"
    for odd in ("a b", "x" * 65, ""):
        assert client.get("/", headers={"x-request-id": odd}).headers["x-request-id"] != odd
    monkeypatch.setattr("api.routes.rules.RULES", None)
    crashed = client.get("/v1/rules", headers={"x-request-id": "crash-7"})
    assert assert_problem(crashed, 500, "internal")
    assert crashed.headers["x-request-id"] == "crash-7"
    assert "crash-7" in caplog.text


def test_who_did_what_is_kept_and_cannot_be_changed(guarded: Guarded) -> None:
    answer = guarded.upload(Scope.SUBMIT)
    audit_id, request_id = answer.json()["id"], answer.headers["x-request-id"]
    query = text("SELECT actor, verb, request_id FROM actions WHERE subject = :id")
    with guarded.service.database.read() as session:
        rows = [tuple(row) for row in session.execute(query, {"id": audit_id})]
    assert rows == [(guarded.shown[Scope.SUBMIT].id, "audit asked for", request_id)]
    for change in ("UPDATE actions SET actor = 'x'", "DELETE FROM actions"):
        with (
            pytest.raises(IntegrityError, match="never changed"),
            guarded.service.database.write() as session,
        ):
            session.execute(text(change))


def test_a_secret_is_in_no_table_and_no_log(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        key = guarded.shown[Scope.SUBMIT].text
        guarded.upload(Scope.SUBMIT)
        guarded.client.get("/v1/rules", headers={"authorization": f"Bearer {key}x"})
        visitor = browser(guarded.service)
        visitor.post("/sign-in", data={"key": key, **form_token(visitor, "/sign-in")})
    cookie = next(iter(visitor.cookies.values()))
    for table in ("api_keys", "sessions", "actions", "audits"):
        with guarded.service.database.read() as session:
            rows = str(session.execute(text(f"SELECT * FROM {table}")).all())
        for secret in (key, key.split("_", 2)[2], cookie):
            assert secret not in rows
            assert secret not in caplog.text


def test_pages_forbid_what_they_do_not_need(client: TestClient) -> None:
    for where in ("/", "/v1/rules", "/nothing"):
        headers = client.get(where).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    cookie = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_which_addresses_are_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.1", "example.org", "")))
    names = {
        "a.example:80": "a.example",
        "[::1]:80": "::1",
        "[::1]": "::1",
        "A.example": "a.example",
    }
    assert {header: host_name(header) for header in names} == names


class TestCommand:
    def test_makes_lists_and_revokes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        where = ["--data", str(tmp_path / "data")]
        create = ["keys", "create", "--name", "ci", "--scope", "submit", "--scope", "review"]
        assert main([*create, *where]) == 0
        key = capsys.readouterr().out.strip()
        key_id = key_id_of(key)
        assert key_id
        assert main([*where, "keys", "list"]) == 0
        listed = capsys.readouterr().out
        assert "review submit" in listed
        assert key_id in listed
        assert key.split("_", 2)[2] not in listed
        assert main(["keys", "revoke", key_id, *where]) == 0
        assert main(["keys", "revoke", key_id, *where]) == 2
        assert "no key in use has the id" in capsys.readouterr().err
        assert main(["keys", "list", *where]) == 0
        assert "revoked" in capsys.readouterr().out
        with sqlite3.connect(tmp_path / "data" / "strict-prefix.sqlite") as connection:
            assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
        connection.close()

    def test_refuses_a_scope_that_is_none_and_a_limit_that_allows_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        create = ["keys", "create", "--name", "x", "--data", str(tmp_path)]
        with pytest.raises(SystemExit):
            main([*create, "--scope", "root"])
        assert main([*create, "--scope", "submit", "--audits-per-day", "0"]) == 2
        assert "at least 1" in capsys.readouterr().err

    def test_a_database_address_with_its_password_is_not_repeated(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = "mysql://u:hush@h/d"
        assert main(["--database", wrong, "--data", str(tmp_path), "--port", "0"]) == 2
        assert "hush" not in capsys.readouterr().err
        gone = "postgresql://u:hush@127.0.0.1:1/d"
        assert main(["--database", gone, "--data", str(tmp_path), "keys", "list"]) == 2
        assert "hush" not in capsys.readouterr().err


def test_settings_have_no_secret_by_default() -> None:
    assert not [name for name in Settings.model_fields if "secret" in name or "password" in name]
