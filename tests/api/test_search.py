"""Every query on both databases, against plain lists."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from api import search
from api.blobs import Blobs
from api.db import Database
from api.derived import summary_of
from api.search import Wanted, cursor
from api.store import Asked, Store
from auditor.rulesets import DEFAULT
from tests.api.archives import as_zip


@pytest.fixture
def url(make_database: Callable[[], str], tmp_path: Path) -> str:
    return make_database() or f"sqlite:///{tmp_path / 'x.sqlite'}"


@pytest.fixture(scope="module")
def store(
    make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("search")
    database = Database(make_database() or f"sqlite:///{folder / 'x.sqlite'}")
    database.migrate()
    store = Store(database, Blobs(folder / "blobs"))
    for number in range(23):
        outcome = ("pass", "fail", "inconclusive")[number % 3]
        claim = None if number == 7 else round(1.5 - number // 2 * 0.01, 4)
        add(store, verdict(outcome, claim, [claim or 1.0], folder=f"record_{number}"))
    yield store
    database.close()


class TestSearch:
    def all_pages(self, store: Store, wanted: Wanted, limit: int) -> list[str]:
        folders, after = [], None
        while True:
            with store.database.read() as session:
                found, after = search.verdicts(session, wanted, limit, after)
            assert len(found) <= limit
            folders += [summary.folder for _, summary in found]
            if after is None:
                return folders

    @pytest.mark.parametrize("limit", [1, 4, 23, 50])
    def test_pages_together_are_the_whole_without_repeats(self, store: Store, limit: int) -> None:
        newest_first = [f"record_{number}" for number in reversed(range(23))]
        assert self.all_pages(store, Wanted(), limit) == newest_first
        failed = [name for name in newest_first if int(name.split("_")[1]) % 3 == 1]
        assert self.all_pages(store, Wanted(outcome="fail"), limit) == failed

    def test_filters_find_what_they_say(self, store: Store) -> None:
        assert self.all_pages(store, Wanted(text="RECORD_1"), 9) == [
            f"record_{number}" for number in (19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 1)
        ]
        assert self.all_pages(store, Wanted(text="100%"), 9) == []
        assert self.all_pages(store, Wanted(rule="packaging", rule_outcome="fail"), 9) == (
            self.all_pages(store, Wanted(outcome="fail"), 9)
        )
        assert self.all_pages(store, Wanted(rule="nothing"), 9) == []
        assert self.all_pages(store, Wanted(ruleset="1999"), 9) == []
        assert self.all_pages(store, Wanted(submission="record_3"), 9) == ["record_3"]

    @pytest.mark.parametrize("limit", [1, 5, 50])
    def test_the_ranking_is_by_claim_and_has_each_submission_once(
        self, store: Store, limit: int
    ) -> None:
        rows, after = [], None
        while True:
            with store.database.read() as session:
                found, after = search.ranking(session, DEFAULT.name, limit, after)
            rows += [(summary.claimed_bpb, summary.folder) for _, summary in found]
            if after is None:
                break
        assert [score for score, _ in rows] == sorted(score or 0.0 for score, _ in rows)
        assert len(rows) == len({folder for _, folder in rows}) == 22

    def test_a_cursor_that_is_none_is_refused(self, store: Store) -> None:
        for odd in ("", "x", "W10", cursor(1, 2), cursor("no date", "x"), "é", "A" * 200):
            with store.database.read() as session, pytest.raises(HTTPException) as refused:
                search.verdicts(session, Wanted(), 1, odd)
            assert refused.value.status_code == 422


def test_reading_again_does_not_take_the_place_of_an_execution(url: str, tmp_path: Path) -> None:
    database = Database(url)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    ran = add(store, verdict("fail", 1.0, [1.0]), run=True)
    add(store, verdict("inconclusive", 1.0, [1.0]))
    add(store, verdict("inconclusive", 1.0, [1.0]) | {"trouble": "it did not end"}, run=True)
    with database.read() as session:
        found, _ = search.ranking(session, DEFAULT.name, 10, None)
        assert [row.audit_id for row, _ in found] == [ran]
    database.close()


def verdict(
    outcome: str, claim: float | None, finals: list[float], folder: str = "record"
) -> dict[str, Any]:
    """The parts of a verdict document that the store reads."""
    return {
        "digest": "d",
        "outcome": outcome,
        "ruleset": DEFAULT.name,
        "engine": "e",
        "trouble": None,
        "submission": {
            "folder": folder,
            "digests": {"submission": folder},
            "claims": {"val_bpb": claim},
        },
        "results": [{"rule": "packaging", "outcome": outcome}],
        "evidence": {"LoggedNumbers": {"logs": [{"final": {"val_bpb": each}} for each in finals]}},
    }


def add(store: Store, document: dict[str, Any], run: bool = False) -> str:
    asked = Asked(name="x.zip", digest="d", run=run, again=True)
    audit_id, _ = store.accept(io.BytesIO(as_zip()), asked)
    row = store.start(audit_id, 3)
    assert row
    assert store.finish(audit_id, document, row.attempts)
    return audit_id


def test_a_verified_score_is_what_the_logs_of_the_claim_say() -> None:
    def verified(document: dict[str, Any]) -> object:
        return summary_of(document)["verified_bpb"]

    assert verified(verdict("pass", 1.2, [1.19, 1.21, 1.7])) == pytest.approx(1.2)
    assert verified(verdict("fail", 1.2, [1.2])) is None
    assert verified(verdict("pass", 1.2, [])) is None
    odd = verdict("pass", None, [1.1])
    odd["submission"]["claims"] = None
    assert verified(odd) == 1.1
    for claim in ("1.2", True, float("nan"), float("inf")):
        assert summary_of(verdict("pass", claim, []))["claimed_bpb"] is None  # type: ignore[arg-type]
