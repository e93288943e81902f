import json

import pytest

from auditor.errors import CannotMeasure
from auditor.inspect.claims import read_claims
from tests.auditor.inspect.records import submission


def claims_of(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return read_claims(submission({"submission.json": text}))


@pytest.mark.parametrize(
    "value",
    [
        {"val_bpb": 1.1},
        {"mean_val_bpb": 1.1},
        {"results": {"mean_val_bpb": 1.1}},
        {"val_bpb": {"mean": 1.1, "std": 0.1}},
        {"val_bpb": "1.1"},
        {"val_bpb": None, "val_bpb_mean": 1.1},
    ],
)
def test_the_headline(value):
    assert claims_of(value).val_bpb == 1.1


@pytest.mark.parametrize(
    "value",
    [
        {"seed_results": {"42": {"val_bpb": 1.2, "artifact_bytes": 15_000_000}}},
        {"results": {"seeds": {"42": {"val_bpb": 1.2, "artifact_bytes": 15_000_000}}}},
        {"seeds": {"42": {"val_bpb": 1.2, "bytes_total": 15_000_000}}},
        {"seed_42": {"val_bpb": 1.2, "bytes_total": 15_000_000}},
        {"seeds": [{"seed": 42, "val_bpb": 1.2, "bytes_total": 15_000_000}]},
        {"val_bpb_seeds": {"42": 1.2}, "artifact_bytes_per_seed": {"42": 15_000_000}},
    ],
)
def test_scores_and_bytes_of_a_seed(value):
    claims = claims_of(value)
    assert (claims.seed_val_bpb, claims.seed_bytes) == ({"42": 1.2}, {"42": 15_000_000})


def test_lists_side_by_side():
    claims = claims_of({"seeds": [1, 2], "val_bpb_seeds": [1.1, 1.2]})
    assert claims.seed_val_bpb == {"1": 1.1, "2": 1.2}
    assert claims.seeds == ("1", "2")


def test_what_compares_with_others_is_no_claim():
    value = {"baseline": {"seed_results": {"42": {"val_bpb": 1.3}}}, "ablation_seed_7": {"bpb": 2}}
    assert claims_of(value).seed_val_bpb == {}


@pytest.mark.parametrize(
    "value", [{"val_bpb": "pending"}, {"val_bpb": True}, {"val_bpb": -1}, '{"val_bpb": NaN}', {}]
)
def test_a_headline_that_is_no_number_is_absent(value):
    assert claims_of(value).val_bpb is None


@pytest.mark.parametrize("text", ["{", "[]", "\0", "[" * 100_000, ""])
def test_what_is_no_object_has_a_reason(text):
    with pytest.raises(CannotMeasure, match=r"submission\.json: expected"):
        claims_of(text)


def test_no_claims_at_all():
    with pytest.raises(CannotMeasure, match="no such file"):
        read_claims(submission({"train_gpt.py": "pass"}))
