"""Envelopes: what a signed verdict holds, and that no byte of it can be another."""

import base64
import copy
import hashlib
import json

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.attest import (
    PAYLOAD_TYPE,
    attest,
    file_problems,
    open_envelope,
    result_problems,
    signature_problem,
)
from auditor.audit import audit
from auditor.errors import SubmissionError
from auditor.report.json_v1 import digest_of, verdict_to_json
from auditor.rules import RULES
from tests.systems import record

DOCUMENT = verdict_to_json(audit(record()))
KEY, FOREIGN_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
SIGNED, UNSIGNED = attest(DOCUMENT, KEY), attest(DOCUMENT, None)
NEEDS = {rule.id: [kind.__name__ for kind in rule.needs] for rule in RULES}
PARTS = ("the envelope: ", "the statement: ", "the verdict: ", "the subjects: ", "the signature: ")


def problem(data, key=None):
    """The sentence about an envelope file, if there is one."""
    try:
        opened = open_envelope(data)
    except SubmissionError as error:
        return str(error)
    return signature_problem(opened.envelope, key.public_key()) if key else None


def statement(data=UNSIGNED):
    return json.loads(base64.b64decode(json.loads(data)["payload"]))


def sealed(changed):
    """An envelope file, without signature, of any statement."""
    payload = base64.b64encode(rfc8785.dumps(changed)).decode()
    envelope = {"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": []}
    return rfc8785.dumps(envelope) + b"\n"


def test_a_verdict_comes_out_as_it_went_in_with_its_files_as_subjects():
    for data in (SIGNED, UNSIGNED):
        assert open_envelope(data).document == DOCUMENT
    assert problem(SIGNED, KEY) is None
    assert {one["name"]: one["digest"]["sha256"] for one in statement()["subject"]} == {
        path: file.sha256 for path, file in record().files.items()
    }
    assert sealed(statement()) == UNSIGNED


def test_a_key_vouches_for_what_it_signed_alone():
    assert "expected one of key" in problem(SIGNED, FOREIGN_KEY)
    assert problem(UNSIGNED, KEY).endswith("found none")
    envelope, foreign = json.loads(SIGNED), json.loads(attest(DOCUMENT, FOREIGN_KEY))
    envelope["signatures"][0]["sig"] = foreign["signatures"][0]["sig"]
    assert "is not over this statement" in problem(rfc8785.dumps(envelope) + b"\n", KEY)
    envelope["signatures"] = json.loads(SIGNED)["signatures"] + foreign["signatures"]
    assert "found one of" in problem(rfc8785.dumps(envelope) + b"\n", KEY)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10**9), flip=st.integers(1, 255), signed=st.booleans())
def test_a_flipped_byte_is_found_and_the_sentence_names_its_part(place, flip, signed):
    data = bytearray(SIGNED if signed else UNSIGNED)
    place %= len(data)
    data[place] ^= flip
    found = problem(bytes(data), KEY if signed else None)
    assert found is not None
    assert found.startswith(PARTS)
    if signed and place >= SIGNED.index(b'"signatures"'):
        assert found.startswith(("the envelope: ", "the signature: "))
    assert found.isprintable()


def leaves(value, path=()):
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path


LEAVES = list(leaves(statement()))


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(LEAVES),
    depth=st.integers(1, 20),
    value=st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3), st.just([]), st.just({})),
    renewed=st.booleans(),
)
def test_a_changed_value_is_found_and_named(path, depth, value, renewed):
    """Also where somebody gives the verdict a digest that fits what it does not say by itself."""
    changed = statement()
    path = path[:depth]
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if inner[path[-1]] == value:
        return
    inner[path[-1]] = value
    found = problem(sealed(changed))
    assert found is not None
    named = {"predicate": "the verdict: ", "subject": "the subjects: "}
    assert found.startswith(named.get(path[0], "the statement: "))
    if renewed:
        renew(changed)
        assert (problem(sealed(changed)) or PARTS[0]).startswith(PARTS)


def renew(changed):
    """Make the digests fit, as far as what is there has any."""
    try:
        document = changed["predicate"]["verdict"]
        document["digest"] = digest_of(document)
        changed["predicate"]["sha256"] = hashlib.sha256(rfc8785.dumps(document)).hexdigest()
    except (KeyError, TypeError, AttributeError):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(outcome="pass"), "it says 'pass', and its results come to"),
        (lambda d: d["results"][0].update(outcome="fine"), "'fine' is not a valid Outcome"),
        (lambda d: d["submission"]["digests"]["files"].pop("README.md"), "its files come to"),
        (lambda d: d.pop("engine"), "it has no 'engine'"),
        (lambda d: d.update(results={}), "its results is {}"),
        (lambda d: d["results"][0].update(rule=[]), "a rule's name is no text"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_found_though_its_digests_fit(change, said):
    changed = statement()
    change(changed["predicate"]["verdict"])
    renew(changed)
    assert said in problem(sealed(changed))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null\n", b"[" * 10**6, b"\xff", b'{"payload": 1}', b" " + UNSIGNED],
)
def test_what_is_no_envelope_is_said(data):
    assert problem(data).startswith("the envelope: expected DSSE with application/vnd.in-toto+json")


def test_each_other_file_is_named():
    judged = DOCUMENT["submission"]["digests"]["files"]
    assert file_problems(DOCUMENT, judged) == []
    other = {**judged, "README.md": "0" * 64, "more.py": "1" * 64}
    del other["submission.json"]
    assert [line.split(":")[0] for line in file_problems(DOCUMENT, other)] == [
        "README.md",
        "more.py",
        "submission.json",
    ]


def test_results_that_reading_again_does_not_give_are_named():
    assert result_problems(DOCUMENT, DOCUMENT, NEEDS) == ([], [])
    changed = copy.deepcopy(DOCUMENT)
    by_rule = {result["rule"]: result for result in changed["results"]}
    by_rule["packaging"].update(outcome="fail")
    by_rule["artifact-size"].update(reason="because")
    changed["results"].remove(by_rule["seeds"])
    problems, uncompared = result_problems(changed, DOCUMENT, NEEDS)
    assert uncompared == []
    assert len(problems) == 3
    assert "packaging was fail, and reading the same files again gives pass" in " ".join(problems)
    assert "artifact-size was inconclusive for reasons" in " ".join(problems)
    assert "no result of seeds" in " ".join(problems)


def test_what_a_run_has_seen_is_not_compared_with_reading():
    ran = copy.deepcopy(DOCUMENT)
    ran["evidence"]["NoiseBound"] = {"bits": 1.0}
    ran["evidence"]["OfALaterRelease"] = {"bits": 1.0}
    ran["results"].append({"rule": "of-a-later-release", "outcome": "pass"})
    problems, uncompared = result_problems(ran, DOCUMENT, NEEDS)
    assert problems == []
    assert uncompared == [
        *(rule for rule, kinds in NEEDS.items() if "NoiseBound" in kinds),
        "of-a-later-release",
    ]
