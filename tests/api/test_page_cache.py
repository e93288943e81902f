"""Pages that are drawn once: the same bytes as drawn anew, whatever people add in between."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from fastapi.testclient import TestClient

from api.app import Service
from api.web import draw
from api.web.drawn import Drawn
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import BROWSER, browser, connect, ended, upload


@pytest.fixture
def where(client: TestClient) -> str:
    page: str = ended(client, upload(client).headers["location"])["links"]["page"]
    return page


def without_token(text: str) -> str:
    return re.sub(r'value="[0-9a-f]{64}"', "", text)


def test_a_page_is_drawn_once_and_says_the_same(service: Service, where: str) -> None:
    first = connect(service)
    with mock.patch("api.routes.verdict_page.draw", wraps=draw) as drawing:
        pages = [first.get(where, headers=BROWSER).text for _ in range(3)]
        assert drawing.call_count == 1
    # Another process has drawn nothing yet.
    assert {without_token(page) for page in pages} == {
        without_token(connect(service).get(where, headers=BROWSER).text)
    }
    # Each visitor without a cookie has a token of their own, and no page has the place of one.
    assert len(set(pages)) == 3


def test_whatever_is_added_is_on_the_page_at_once(
    client: TestClient, service: Service, where: str
) -> None:
    key = where.rsplit("/", 1)[1]
    rule = client.get(f"/v1/verdicts/{key}").json()["results"][0]["rule"]

    def page() -> str:
        text = client.get(where, headers=BROWSER).text
        assert without_token(text) == without_token(
            connect(service).get(where, headers=BROWSER).text
        )
        return text

    seen = [page()]
    client.post(f"/v1/verdicts/{key}/notes", data={"text": "a first note"})
    seen.append(page())
    assert "a first note" in seen[-1]
    appeal = {"rule": rule, "text": "not so"}
    made = client.post(f"/v1/verdicts/{key}/appeals", data=appeal).json()[0]
    seen.append(page())
    assert "not so" in seen[-1]
    answer = {"decision": "rejected", "answer": "it is so"}
    client.post(f"/v1/appeals/{made['id']}/answer", data=answer)
    seen.append(page())
    assert "it is so" in seen[-1]
    ended(client, upload(client).headers["location"])
    seen.append(page())
    assert "Other verdicts on the same files" in seen[-1]
    asked = {"reason": "see", "verdicts": key}
    rejudge = client.post("/v1/rejudges", data=asked).json()
    ended(client, f"/v1/audits/{rejudge['differences'][0]['audit']}")
    seen.append(page())
    client.post(f"/v1/rejudges/{rejudge['id']}/apply")
    seen.append(page())
    assert "is superseded" in seen[-1]
    assert len({without_token(text) for text in seen}) == len(seen)


def test_a_browser_that_has_the_page_is_not_sent_it_again(service: Service, where: str) -> None:
    visitor = browser(service)
    first = visitor.get(where, headers=BROWSER)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    again = visitor.get(where, headers=BROWSER | {"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    key = where.rsplit("/", 1)[1]
    connect(service).post(f"/v1/verdicts/{key}/notes", data={"text": "new"})
    assert visitor.get(where, headers=BROWSER | {"if-none-match": tag}).status_code == 200
    # The forms of another browser are others: it has not got this page.
    other = browser(service)
    assert other.get(where, headers=BROWSER | {"if-none-match": tag}).status_code == 200


def test_who_asks_decides_what_is_on_the_page(service: Service) -> None:
    client = connect(service)
    archive = as_zip(RECORD | {"public": b"1"})
    where = ended(client, upload(client, archive).headers["location"])["links"]["page"]
    assert "Add the note" in client.get(where, headers=BROWSER).text
    settings = service.settings.model_copy(update={"hosts": "audit.example", "public_reads": True})
    with mock.patch.object(service, "settings", settings):
        public = connect(service)
    public.app.state.drawn = client.app.state.drawn  # type: ignore[attr-defined]
    page = public.get(where, headers=BROWSER)
    assert page.status_code == 200
    assert "Add the note" not in page.text
    assert "form_token" not in page.text
    # Nothing in it is one browser's, so there is no cookie and all have the same tag.
    assert "set-cookie" not in page.headers
    tag = page.headers["etag"]
    assert public.get(where, headers=BROWSER | {"if-none-match": tag}).status_code == 304
    with mock.patch.object(
        service, "settings", settings.model_copy(update={"public_reads": False})
    ):
        closed = connect(service)
    closed.app.state.drawn = client.app.state.drawn  # type: ignore[attr-defined]
    refused = closed.get(where, headers=BROWSER | {"if-none-match": tag})
    assert refused.status_code == 401


def test_many_who_ask_at_once_have_it_drawn_once() -> None:
    drawn, begun = Drawn(), threading.Barrier(8)

    def slowly() -> str:
        time.sleep(0.05)
        return "x"

    counted = mock.Mock(side_effect=slowly)

    def ask(_: int) -> bytes:
        begun.wait(10)
        return drawn.body("key", counted)

    with ThreadPoolExecutor(8) as many:
        assert set(many.map(ask, range(8))) == {b"x"}
    assert counted.call_count == 1
    # One that fails is tried by the next.
    failing = mock.Mock(side_effect=[OSError, "y"])
    with pytest.raises(OSError):  # noqa: PT011 - whatever it was
        drawn.body("other", failing)
    assert drawn.body("other", failing) == b"y"


def test_the_memory_of_bodies_is_bounded() -> None:
    drawn = Drawn(most_bytes=100)
    counted = mock.Mock(side_effect=lambda: "x" * 40)
    for key in (1, 2, 1, 3, 1):
        assert drawn.body(key, counted) == b"x" * 40
    # The third pushed out the second, which was used longest ago.
    assert counted.call_count == 3
    drawn.body(2, counted)
    assert counted.call_count == 4
    assert drawn.body("large", lambda: "y" * 101) == b"y" * 101
    assert drawn.body(1, counted) == b"x" * 40
