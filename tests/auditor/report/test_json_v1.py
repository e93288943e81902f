import json

from hypothesis import given, settings

from auditor.report.json_v1 import digest_of, verdict_to_json
from auditor.verdict import Verdict
from tests.auditor.report.documents import RAN_AHEAD, RESULTS, document, documents, timeline


def test_a_document_is_what_json_gives_back():
    verdict = Verdict(
        ruleset="r",
        engine="e",
        submission={"folder": "f", "digests": {"files": {"a\udcff.py": "0"}}, "claims": None},
        results=RESULTS,
        evidence={"X": {"tuple": (1, 2), "half": "\ud800"}},
        overrides=("a",),
        trouble=None,
        seconds=1.23456,
    )
    made = verdict_to_json(verdict)
    assert json.loads(json.dumps(made)) == made
    assert made["submission"]["digests"]["files"] == {r"a\udcff.py": "0"}


@settings(max_examples=30, deadline=None)
@given(documents())
def test_the_digest_can_be_checked_on_a_stored_document(whole):
    assert digest_of(whole) == whole["digest"]


def test_the_digest_ignores_clock_and_folder_name_and_nothing_else():
    whole = document(timeline(RAN_AHEAD))
    renamed = whole | {"seconds": 9.0, "submission": whole["submission"] | {"folder": "other"}}
    assert digest_of(renamed) == whole["digest"]
    for key in set(whole) - {"digest", "seconds", "submission"}:
        assert digest_of(whole | {key: "changed"}) != whole["digest"], key
