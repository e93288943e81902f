import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.app import Service
from api.routes.verdicts import Format
from api.tables import VerdictRow
from auditor.attest import open_envelope, signature_problem
from auditor.keys import public_key, write_new_key
from auditor.report.entries import Report
from auditor.report.html import render_html
from auditor.report.markdown import render_markdown
from tests.api.conftest import BROWSER, connect, ended, upload


@pytest.fixture
def where(client: TestClient) -> str:
    status = ended(client, upload(client).headers["location"])
    link: str = status["links"]["verdict"]
    return link


def row(service: Service, where: str) -> VerdictRow:
    with service.database.read() as session:
        return session.get_one(VerdictRow, where.rsplit("/", 1)[1])


def test_the_document_is_the_stored_one_byte_for_byte(
    client: TestClient, service: Service, where: str
) -> None:
    stored = row(service, where)
    answer = client.get(where)
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == stored.document.encode()
    assert answer.headers["etag"] == f'"{json.loads(stored.document)["digest"]}"'
    assert answer.headers["vary"] == "Accept"


def test_who_has_the_document_is_not_sent_it_again(client: TestClient, where: str) -> None:
    tag = client.get(where).headers["etag"]
    assert client.get(where, headers={"if-none-match": f'"other", {tag}'}).status_code == 304
    assert client.get(where, headers={"if-none-match": '"other"'}).status_code == 200
    # The page is another representation: a tag of the document does not stand for it.
    page = client.get(where, headers=BROWSER | {"if-none-match": tag})
    assert page.status_code == 200
    assert page.headers["etag"] != tag


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html;q=nonsense", "application/json"),
        ("text/*, application/json;q=0.1", "text/html; charset=utf-8"),
        (BROWSER["accept"], "text/html; charset=utf-8"),
    ],
)
def test_a_browser_gets_the_page_and_a_script_the_document(
    client: TestClient, where: str, accept: str | None, kind: str
) -> None:
    headers = {} if accept is None else {"accept": accept}
    answer = client.get(where, headers=headers)
    assert answer.headers["content-type"] == kind
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:;" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize("form", list(Format))
def test_every_form_of_the_report_is_served(client: TestClient, where: str, form: Format) -> None:
    answer = client.get(f"{where}?format={form}")
    assert answer.status_code == 200
    document = client.get(where).json()
    match form:
        case Format.JSON:
            assert answer.content == client.get(where).content
        case Format.HTML:
            assert answer.text == render_html([document])
        case Format.SARIF:
            assert answer.json()["version"] == "2.1.0"
        case Format.JUNIT:
            assert ElementTree.fromstring(answer.text).tag == "testsuites"
        case Format.MARKDOWN:
            assert answer.text == render_markdown(Report.of_verdicts([document]))
        case Format.DSSE:
            assert open_envelope(answer.content).document == document
    if form is not Format.DSSE:
        tag = {"if-none-match": answer.headers["etag"]}
        assert client.get(f"{where}?format={form}", headers=tag).status_code == 304
    assert client.get(f"{where}?format=nonsense").status_code == 422


def test_an_envelope_is_signed_with_the_key_of_the_service(
    service: Service, where: str, tmp_path: Path
) -> None:
    write_new_key(tmp_path / "key", tmp_path / "key.pub")
    signing = copy.copy(service)
    signing.settings = service.settings.model_copy(update={"signing_key": tmp_path / "key"})
    envelope = open_envelope(connect(signing).get(f"{where}?format=dsse").content).envelope
    assert signature_problem(envelope, public_key(tmp_path / "key.pub")) is None
    assert envelope.signatures


def test_a_badge_says_the_outcome_and_the_claim(client: TestClient, where: str) -> None:
    answer = client.get(f"{where}/badge.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    outcome = client.get(where).json()["outcome"].upper()
    label = ElementTree.fromstring(answer.text).attrib["aria-label"]
    assert label == f"strict prefix: {outcome} · claims 1.2000 bpb"


@pytest.mark.parametrize("change", ["UPDATE verdicts SET outcome = 'pass'", "DELETE FROM verdicts"])
def test_no_statement_changes_a_verdict(
    client: TestClient, service: Service, where: str, change: str
) -> None:
    before = client.get(where).content
    with pytest.raises(IntegrityError, match="never changed"), service.database.write() as session:
        session.execute(text(change))
    assert client.get(where).content == before


def test_the_first_word_on_an_audit_stands(
    client: TestClient, service: Service, where: str
) -> None:
    before = client.get(where)
    document = before.json() | {"outcome": "pass"}
    audit_id = row(service, where).audit_id
    service.store.finish(audit_id, document)
    service.store.error(audit_id, kind="tool", message="too late")
    assert client.get(where).content == before.content
    assert client.get(f"/v1/audits/{audit_id}").json()["state"] == "finished"
