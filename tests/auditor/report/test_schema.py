import copy
import dataclasses
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from auditor import evidence
from auditor.report.json_v1 import SCHEMA
from tests.auditor.report.documents import RAN_AHEAD, document, documents, noise_bound, timeline

TEXT = files("auditor.report").joinpath("verdict-v1.schema.json").read_text()
SHAPE: dict[str, Any] = json.loads(TEXT)
VALIDATOR = jsonschema.Draft202012Validator(SHAPE)
WHOLE = document(noise_bound(2.0), timeline(RAN_AHEAD))

OURS = [
    (),
    ("submission",),
    ("submission", "digests"),
    ("submission", "claims"),
    ("results", 1),
    ("results", 1, "findings", 0),
    ("results", 1, "findings", 0, "location"),
    ("evidence", "NoiseBound"),
    ("evidence", "Timeline"),
    ("evidence", "Timeline", "events", 0),
]


def at(whole: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    place: Any = whole
    for step in path:
        place = place[step]
    found: dict[str, Any] = place
    return found


def test_the_schema_is_a_schema_of_this_version():
    jsonschema.Draft202012Validator.check_schema(SHAPE)
    assert SHAPE["properties"]["schema"]["const"] == SCHEMA


def test_a_real_verdict_is_valid():
    VALIDATOR.validate(WHOLE)


@settings(max_examples=40, deadline=None)
@given(documents())
def test_every_verdict_is_valid(whole):
    VALIDATOR.validate(whole)


@pytest.mark.parametrize("path", OURS, ids=str)
def test_every_key_is_needed_and_no_other_is_allowed(path):
    for key in at(WHOLE, path):
        broken = copy.deepcopy(WHOLE)
        at(broken, path)[f"{key}_"] = at(broken, path).pop(key)
        assert not VALIDATOR.is_valid(broken), key
        del at(broken, path)[f"{key}_"]
        assert not VALIDATOR.is_valid(broken), key


def test_a_finding_without_a_message_is_impossible():
    broken = copy.deepcopy(WHOLE)
    broken["results"][1]["findings"][0]["message"] = ""
    assert not VALIDATOR.is_valid(broken)


def test_a_finding_without_a_place_is_impossible():
    broken = copy.deepcopy(WHOLE)
    broken["results"][1]["findings"][0]["location"] |= {"file": None, "position": None}
    assert not VALIDATOR.is_valid(broken)


def test_a_fail_without_a_finding_is_impossible():
    broken = copy.deepcopy(WHOLE)
    broken["results"][1]["findings"] = []
    assert not VALIDATOR.is_valid(broken)


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [((0, 1, 2, 3), "fail"), ((0, 2, 3), "inconclusive"), ((0, 3), "pass"), ((3,), "inconclusive")],
)
def test_the_outcome_follows_from_the_results(kept, outcome):
    derived = copy.deepcopy(WHOLE)
    derived["results"] = [WHOLE["results"][index] for index in kept]
    for claimed in ("pass", "fail", "inconclusive"):
        derived["outcome"] = claimed
        assert VALIDATOR.is_valid(derived) == (claimed == outcome)


def test_every_kind_of_evidence_has_its_fields_in_the_schema():
    for name, kind in vars(evidence).items():
        if not dataclasses.is_dataclass(kind):
            continue
        fields = [field.name for field in dataclasses.fields(kind)]
        derived = ["ln_e"] if kind is evidence.NoiseBound else []
        shape = SHAPE["$defs"].get(name, {"required": None})
        assert shape["required"] == fields + derived, f"{name} changed: v1 must say so"
