"""`audit --prove` on systems of the protocol: what a blind replay makes of the rules."""

import hashlib
import json
import math
from typing import Any

import pytest

from auditor.audit import Plan, audit
from auditor.evidence import BlindReplay, Evidence
from auditor.protocol.blind import draw, seed_of
from auditor.protocol.evaluation import Evaluation, evaluate
from auditor.protocol.host import Room
from auditor.protocol.prove import Proving, prove
from auditor.report.entries import Report
from auditor.report.html import render_html
from auditor.report.json_v1 import verdict_to_json
from auditor.report.markdown import inert, render_markdown
from auditor.rules import strict_prefix
from auditor.rulesets import DEFAULT
from auditor.run.sandbox import missing
from auditor.submission import File, Submission
from auditor.verdict import Outcome
from tests.auditor.protocol.test_blind import TOKENS, WINDOWS, window_of
from tests.auditor.report.test_schema import VALIDATOR
from tests.systems.protocol import system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TEXT_BYTES = 5000
FOUR = ("strict-prefix", "full-distribution", "score-before-update", "artifact-only")


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


def record(twin: str | None, val_bpb: float = 2.0) -> Submission:
    """A system with a claim, and a log that says over how many tokens."""
    log = (
        "val_loader:shards pattern=x tokens:2000\n"
        f"final_exact val_loss:3.40000000 val_bpb:{val_bpb:.8f}\n"
    )
    claim = json.dumps({"val_bpb": val_bpb})
    files = {**system(twin).files}
    for name, text in (("train.log", log), ("submission.json", claim)):
        files[name] = File(text.encode(), hashlib.sha256(text.encode()).hexdigest())
    return Submission("record", files)


def proving(windows: int = 44, *proofs: str, tokens: int = 2001) -> Proving:
    return Proving(TOKENS[:tokens], TEXT_BYTES, ROOM, frozenset(proofs or ("replay",)), windows)


def verdict_on(submission: Submission, asked: Proving) -> dict[str, Any]:
    document = verdict_to_json(audit(submission, Plan(proving=asked)))
    VALIDATOR.validate(document)
    return document


def result(document: dict[str, Any], rule: str) -> dict[str, Any]:
    return next(one for one in document["results"] if one["rule"] == rule)


def test_an_honest_system_passes_four_rules_with_the_probability_of_a_miss():
    found = verdict_on(record(None), proving())
    miss = math.comb(WINDOWS - 25, 44) / math.comb(WINDOWS, 44)
    assert found["evidence"]["BlindReplay"]["miss_tenth"] == pytest.approx(miss)
    for rule in FOUR:
        answer = result(found, rule)
        assert (answer["outcome"], answer["strength"]) == ("pass", "ran"), rule
        assert f"goes unseen with probability {miss:.2g}" in answer["reason"]
        assert "over 2,000 tokens, which is no more than is claimed" in answer["reason"]
    assert found["overrides"] == ["replay: 2000 tokens, sandbox=bubblewrap"]
    assert found["evidence"]["RoundTrip"] == {"absent": "no round trip was asked for"}
    said = f"44 of 249 windows of a text {found['evidence']['BlindReplay']['replayed']} charges"
    miss_said = f"goes unseen with probability {miss:.2g}, in a hundredth with"
    passing = {**found, "outcome": "pass"}  # a record of this test lacks a script
    for document in (found, passing):
        page = render_markdown(Report.of_verdicts([document]))
        assert inert(said) in page
        assert inert(miss_said) in page
    assert said in render_html([found])
    assert miss_said in render_html([found])


def test_agreement_passes_nothing_by_few_windows_or_over_the_claim():
    few = result(verdict_on(record(None), proving(3)), "strict-prefix")
    assert few["outcome"] == "inconclusive"
    assert "where 0.01 is asked" in few["reason"]
    high = result(verdict_on(record(None, 1.5), proving()), "strict-prefix")
    assert high["outcome"] == "inconclusive"
    assert "but 1.500000 are claimed" in high["reason"]


def test_who_peeks_only_in_the_fast_pass_fails_though_the_text_comes_back():
    """Token by token there is nothing to look at; the round trip alone would prove the claim."""
    found = verdict_on(record("looks-ahead"), proving(WINDOWS, "round-trip", "replay"))
    assert found["evidence"]["RoundTrip"]["bits"] < 2.0 * TEXT_BYTES
    answer = result(found, "strict-prefix")
    assert (answer["outcome"], answer["strength"]) == ("fail", "ran")
    finding = answer["findings"][0]
    assert finding["location"]["file"] == "system.py"
    assert finding["location"]["position"] % 100 == 7
    assert "of 2,000 charges are other ones when the tokens after" in finding["message"]
    assert result(found, "full-distribution")["strength"] == "proved"
    for page in (render_html([found]), render_markdown(Report.of_verdicts([found]))):
        assert "are other ones when the tokens after the position" in page


@pytest.mark.parametrize("count", [125, 200])
def test_a_bit_at_one_position_of_a_thousand_fails_where_a_leaking_window_was_drawn(count):
    done = evaluate(record("leaks-a-bit"), TOKENS, ROOM, silent)
    assert isinstance(done, Evaluation)
    for _ in range(2):
        evidence = Evidence()
        prove(record("leaks-a-bit"), proving(count), evidence, silent)
        replay = evidence.get(BlindReplay)
        assert replay is not None
        seed = seed_of(record("leaks-a-bit"), TOKENS, done.nats_T, bytes.fromhex(replay.nonce))
        caught = {window_of(7), window_of(1007)} & draw(WINDOWS, count, seed)
        answer = strict_prefix.check(evidence, DEFAULT)
        assert answer.outcome is (Outcome.FAIL if caught else Outcome.INCONCLUSIVE)
        escapes = (WINDOWS - count) * (WINDOWS - count - 1) / WINDOWS / (WINDOWS - 1)
        assert replay.miss_position == pytest.approx(escapes)


def test_a_system_that_does_not_repeat_itself_is_inconclusive_with_its_noise():
    found = verdict_on(record("never-the-same"), proving(5, "round-trip", "replay"))
    answer = result(found, "strict-prefix")
    assert answer["outcome"] == "inconclusive"
    noise = found["evidence"]["BlindReplay"]["noise_nats"]
    assert f"by up to {noise:.3g} nats: the system does not repeat itself" in answer["reason"]
    assert "What remains is the blind score" in answer["reason"]
    assert "does not repeat itself" in found["evidence"]["RoundTrip"]["absent"]


def test_a_record_without_the_protocol_is_judged_as_if_nobody_had_asked():
    files = {name: file for name, file in record(None).files.items() if name != "system.py"}
    plain = Submission("record", files)
    found = verdict_on(plain, proving(44, "round-trip", "replay"))
    assert found["results"] == verdict_to_json(audit(plain))["results"]
    for kind in ("RoundTrip", "BlindReplay"):
        assert "expected a system.py" in found["evidence"][kind]["absent"]
    assert [said.split(":")[0] for said in found["overrides"]] == [
        "the round trip gave no evidence",
        "the replay gave no evidence",
    ]


def test_what_is_no_distribution_fails_by_a_replay_alone_and_is_not_looked_at_twice():
    for proofs in (("replay",), ("round-trip", "replay")):
        found = verdict_on(record("unnormalised"), proving(5, *proofs, tokens=101))
        answer = result(found, "full-distribution")
        assert (answer["outcome"], answer["strength"]) == ("fail", "proved")
        assert (
            "at position 56 the probabilities of all tokens sum to 2.0"
            in (answer["findings"][0]["message"])
        )
        assert "must sum to 1, got 2.0" in found["evidence"]["BlindReplay"]["absent"]


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        ("raises", "gave 1: OSError: no more"),
        ("no-numbers", "must sum to 1, got nan"),
        ("wrong-shape", "must return the shape (16, 24), got (16, 23)"),
        ("knows-no-sevens", "a token has no chance at all"),
    ],
)
def test_trouble_of_a_system_fails_nobody(twin, said):
    found = verdict_on(record(twin), proving(5, "replay", tokens=301))
    assert all(result(found, rule)["outcome"] != "fail" for rule in FOUR)
    assert said in json.dumps(found)
