import copy
import errno
import os
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select

import api.routes.audits
from api.app import Service
from api.tables import AuditRow, SubmissionRow
from tests.api.archives import (
    PACKED,
    RECORD,
    as_tar,
    as_zip,
    bomb,
    tar_with_link,
    zip_with_link,
)
from tests.api.conftest import BROWSER, connect, upload, verdict_of

BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "leaves the folder": ("x.zip", lambda: as_zip(folder="../"), "../train_gpt.py"),
    "leaves the folder in a tar": ("x.tar", lambda: as_tar(folder="/"), "/train_gpt.py"),
    "link in a zip": ("x.zip", zip_with_link, "train_gpt.py is a symbolic link"),
    "link in a tar": ("x.tar", tar_with_link, "train_gpt.py is a link"),
    "bomb": ("x.zip", bomb, "68,157,440 bytes, over the limit of 67,108,864"),
    "not an archive": ("x.zip", lambda: b"certainly not", "x.zip: expected a zip archive"),
    "not a tar": ("x.tar.gz", lambda: b"certainly not", "x.tar.gz: expected a tar archive"),
    "cut short": ("x.tar.zst", lambda: PACKED["record.tar.zst"][:-40], "x.tar.zst: expected a tar"),
    "no bytes": ("x.zip", lambda: b"", "x.zip: expected a zip archive"),
    "no files": ("x.zip", lambda: as_zip({}), "expected a record folder, found no files"),
    "another type": ("x.rar", as_zip, "x.rar: expected a name in .zip"),
}


def assert_problem(answer: Response, status: int, kind: str) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    problem = answer.json()
    assert problem["type"] == f"urn:strict-prefix:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    detail: str = problem["detail"]
    return detail


def kept(service: Service) -> tuple[int | None, int | None, int]:
    with service.database.read() as session:
        audits = session.scalar(select(func.count()).select_from(AuditRow))
        submissions = session.scalar(select(func.count()).select_from(SubmissionRow))
    return audits, submissions, len(list((service.settings.data / "blobs").rglob("*")))


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_refused_by_name_and_nothing_is_kept(
    client: TestClient, service: Service, case: str
) -> None:
    name, make, expected = BAD[case]
    before = kept(service)
    assert expected in assert_problem(upload(client, make(), name), 422, "submission")
    assert kept(service) == before


@pytest.mark.parametrize("broken", [b"{", b"[1]", b'{"val_bpb": "NaN"}', b"\xff\xfe", b"[" * 9999])
def test_broken_json_inside_is_for_the_rules_to_judge(client: TestClient, broken: bytes) -> None:
    answer = upload(client, as_zip(RECORD | {"submission.json": broken}))
    assert verdict_of(client, answer.headers["location"])["outcome"] in ("fail", "inconclusive")


class TestTooLarge:
    @pytest.fixture
    def client(self, service: Service) -> Iterator[TestClient]:
        small = copy.copy(service)
        small.settings = service.settings.model_copy(update={"max_upload_bytes": 1_000_000})
        with connect(small) as connected:
            yield connected

    def test_the_largest_archive_is_taken_and_one_byte_more_is_not(
        self, client: TestClient
    ) -> None:
        small = as_zip({"a": b"x"})
        padding = 1_000_000 - len(small)
        largest = bytes(padding) + small  # a zip may follow other bytes
        assert upload(client, largest).status_code == 202
        detail = assert_problem(upload(client, b"\0" + largest), 413, "too-large")
        assert "1,000,001 bytes" in detail
        assert "limit is 1,000,000" in detail

    def test_a_stated_length_is_refused_unread(self, client: TestClient) -> None:
        detail = assert_problem(upload(client, bytes(3_000_000)), 413, "too-large")
        assert "at least" not in detail
        assert "limit is 1,000,000" in detail


def test_what_is_not_there_is_named(client: TestClient) -> None:
    assert "'abc'" in assert_problem(client.get("/v1/audits/abc"), 404, "not-found")
    assert "'abc'" in assert_problem(client.get("/v1/verdicts/abc"), 404, "not-found")
    assert_problem(client.get("/nothing"), 404, "not-found")


def test_a_wrong_method_says_which_is_right(client: TestClient) -> None:
    answer = client.get("/v1/rejudges")
    assert "takes POST" in assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_missing_field_is_named(client: TestClient) -> None:
    answer = client.post("/v1/audits", data={"run": "perhaps"})
    assert_problem(answer, 422, "invalid")
    assert {each["field"] for each in answer.json()["errors"]} == {"archive", "run"}


def test_a_broken_form_is_a_bad_request(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/v1/audits", content=b"--b\r\n\0\r\n", headers=headers)
    assert_problem(answer, 400, "bad-request")
    two = [("archive", ("a.zip", b"")), ("archive", ("b.zip", b""))]
    assert_problem(client.post("/v1/audits", files=two), 400, "bad-request")


def test_a_crash_says_nothing_of_its_cause(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @staticmethod
        def from_archive(data: bytes, name: str) -> None:
            raise RuntimeError("hush")

    monkeypatch.setattr(api.routes.audits, "Submission", Broken)
    answer = upload(client)
    assert "hush" not in assert_problem(answer, 500, "internal") + answer.text
    assert "hush" in caplog.text


def test_a_full_disk_keeps_nothing_and_says_so(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = kept(service)
    with monkeypatch.context() as patch:
        patch.setattr("api.blobs.os.fsync", full)
        answer = upload(client, as_zip(RECORD | {"another": b"one"}))
    assert "nothing of this request was kept" in assert_problem(answer, 507, "disk")
    assert answer.json()["request_id"]
    now = kept(service)
    assert now[:2] == before[:2]
    assert not list((service.settings.data / "blobs").glob(".incoming-*"))


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda client: client.get("/v1/audits/<b>", headers=BROWSER), 404),
        (lambda client: client.post("/v1/audits", headers=BROWSER), 422),
    ],
)
def test_a_browser_gets_a_page(
    client: TestClient, ask: Callable[[TestClient], Response], status: int
) -> None:
    answer = ask(client)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "<b>" not in answer.text
    assert "Hand in another archive" in answer.text
