"""The log of verdicts: it has all of them, only grows, and a stranger can check that."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient
from securesystemslib.dsse import Envelope
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from api.app import Service, create_app
from api.blobs import Blobs
from api.db import Database
from api.errors import StartError
from api.settings import Settings
from api.store import Store
from api.tables import LogRow, VerdictRow
from auditor.attest import open_envelope, signature_problem
from auditor.merkle import is_consistent, is_included, leaf_hash
from tests.api.conftest import ended, upload
from tests.api.test_search import add, verdict


def new_verdict(client: TestClient) -> str:
    link: str = ended(client, upload(client).headers["location"])["links"]["verdict"]
    return link


def is_in(client: TestClient, where: str) -> bool:
    """What somebody does who has the document and asks for the proof."""
    proof, head = client.get(f"{where}/inclusion").json(), client.get("/v1/log").json()
    assert (proof["size"], proof["root"]) == (head["size"], head["root"])
    leaf = leaf_hash(client.get(where).content)
    hashes = [bytes.fromhex(each) for each in proof["proof"]]
    return is_included(leaf, proof["place"], head["size"], hashes, bytes.fromhex(head["root"]))


def holds(client: TestClient, earlier: dict[str, Any]) -> bool:
    """What somebody does who has kept an earlier head."""
    answer = client.get("/v1/log/consistency", params={"first": earlier["size"]}).json()
    hashes = [bytes.fromhex(each) for each in answer["proof"]]
    roots = bytes.fromhex(earlier["root"]), bytes.fromhex(answer["root"])
    return is_consistent(earlier["size"], answer["size"], hashes, *roots)


def test_every_verdict_is_in_the_log_which_only_grows(client: TestClient) -> None:
    links, heads = [], []
    for size in range(1, 4):
        links.append(new_verdict(client))
        heads.append(client.get("/v1/log").json())
        assert heads[-1]["size"] == size
    assert all(is_in(client, where) for where in links)
    assert all(holds(client, earlier) for earlier in heads)
    assert not holds(client, heads[0] | {"root": heads[1]["root"]})


@pytest.mark.parametrize("first", ["0", "99", "-1", "x"])
def test_a_size_that_the_log_never_had_has_no_proof(client: TestClient, first: str) -> None:
    answer = client.get("/v1/log/consistency", params={"first": first})
    assert answer.status_code == 422
    assert "expected an earlier size from 1 to" in answer.text or first == "x"


def test_an_unknown_verdict_has_no_place_and_no_statement(client: TestClient) -> None:
    for what in ("inclusion", "statement"):
        assert client.get(f"/v1/verdicts/absent/{what}").status_code == 404


def test_statement_and_head_are_signed_where_there_is_a_key(
    client: TestClient, service: Service
) -> None:
    where, key = new_verdict(client), Ed25519PrivateKey.generate()
    opened = open_envelope(client.get(f"{where}/statement").content)
    assert opened.document == client.get(where).json()
    assert opened.envelope.signatures == {}
    app = create_app(service)
    app.state.signing_key = key
    client = TestClient(app, "http://127.0.0.1")
    signed = open_envelope(client.get(f"{where}/statement").content)
    assert signature_problem(signed.envelope, key.public_key()) is None
    head = client.get("/v1/log").json()
    envelope = Envelope.from_dict(head.pop("envelope"))
    assert signature_problem(envelope, key.public_key()) is None
    assert envelope.payload == rfc8785.dumps(head)


def test_a_key_that_is_none_keeps_the_service_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRICT_PREFIX_KEY", "mine")
    with pytest.raises(StartError, match="STRICT_PREFIX_KEY: expected an Ed25519 private key"):
        Service(Settings(data=tmp_path / "data"))


@pytest.mark.parametrize("change", ["UPDATE log SET place = 99", "DELETE FROM log"])
def test_no_statement_changes_a_place(client: TestClient, service: Service, change: str) -> None:
    where = new_verdict(client)
    with pytest.raises(IntegrityError, match="never changed"), service.database.write() as session:
        session.execute(text(change))
    assert is_in(client, where)


@pytest.fixture
def store(make_database: Callable[[], str], tmp_path: Path) -> Store:
    database = Database(make_database() or f"sqlite:///{tmp_path / 'x.sqlite'}")
    database.migrate()
    return Store(database, Blobs(tmp_path / "blobs"))


def places(store: Store) -> list[tuple[int, str, str]]:
    with store.database.read() as session:
        query = select(LogRow.place, LogRow.verdict_id, LogRow.leaf).order_by(LogRow.place)
        return [(place, verdict_id, leaf) for place, verdict_id, leaf in session.execute(query)]


def test_verdicts_that_come_at_the_same_time_get_places_without_gaps(store: Store) -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                add(store, verdict("pass", None, []))
        except Exception as error:  # noqa: BLE001 - a thread's error is the test's
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [place for place, _, _ in places(store)] == list(range(20))
    store.database.close()


def test_verdicts_from_before_the_log_get_their_places_by_age(store: Store) -> None:
    # As kept, when a name has what no database has a form for.
    for folder in ("record", "a\0b\ud800c", "another"):
        add(store, verdict("pass", None, [], folder=folder))
    before = places(store)
    with store.database.write() as session:
        session.execute(text("DROP TABLE log"))
        if not store.database.embedded:
            session.execute(text("DROP FUNCTION refuse_change_of_log"))
        session.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    store.database.migrate("0005")  # what came after the log is there already
    assert places(store) == before
    with store.database.read() as session:
        documents = {row.id: row.document for row in session.scalars(select(VerdictRow))}
    assert [leaf for _, _, leaf in before] == [
        leaf_hash(documents[verdict_id].encode()).hex() for _, verdict_id, _ in before
    ]
    assert all(json.loads(document)["outcome"] == "pass" for document in documents.values())
    store.database.close()
