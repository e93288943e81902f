import dataclasses

import pytest

from auditor.evidence import LoggedNumbers, RunLog, ShippedBytes
from auditor.report.figures import artifact_bytes, noise, rows
from auditor.report.summary import STRENGTHS, probability, summary
from auditor.verdict import Strength
from tests.auditor.report.documents import RESULTS, document, noise_bound

LOG = RunLog(
    file="a.log",
    seed=1,
    tokens=None,
    scores=(),
    code_bytes=None,
    model_bytes=None,
    total_bytes=15_900_000,
)


def test_the_strengths_are_those_of_a_verdict_in_the_same_order():
    assert list(STRENGTHS) == [strength.value for strength in Strength]


def test_a_failure_is_explained_by_its_strongest_evidence():
    strong = dataclasses.replace(RESULTS[1], rule="single-pass", strength=Strength.RAN)
    said = " ".join(summary(document(results=(*RESULTS, strong))))
    assert said.startswith("Of the 4 rules that apply, 2 failed; 1 could not be decided.")
    assert "The strongest evidence (ran) is against single-pass: reads the answer." in said


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((0, 3), "No violation was found: the only rule that applies passed."),
        ((0, 2), "of the 2 rules that apply, 1 could not be decided"),
        ((3,), "No rule applied"),
        ((), "No rule applied"),
    ],
)
def test_the_first_sentence_says_how_far_the_rules_got(kept, words):
    results = tuple(RESULTS[index] for index in kept)
    assert words in summary(document(results=results))[0]


def test_the_noise_bound_is_a_sentence_with_both_numbers():
    said = " ".join(summary(document(noise_bound(2.0))))
    assert "by 249,533.0 nats (2.0000 bits per token, 8.0000 needed)" in said
    assert "below e^-249,533." in said


def test_a_small_gain_keeps_its_digits():
    assert probability(2.5) == "e^-2.50"


def test_no_figure_is_made_from_no_tokens():
    assert noise(document(noise_bound(2.0, tokens=0))) is None
    assert noise(document()) is None


def test_every_verdict_has_the_same_rows():
    with_noise, without = rows(document(noise_bound(2.0))), rows(document())
    assert [row.name for row in with_noise] == [row.name for row in without]
    assert [row.value for row in without if row.value] == ["1.1000"]


def test_artifact_bytes_are_recounted_where_the_model_was_shipped():
    logged = LoggedNumbers(logs=(LOG, dataclasses.replace(LOG, total_bytes=None)))
    shipped = ShippedBytes(code={"a.py": 5, "b.py": 7}, models={"m": 100, "n": 90}, entry="a.py")
    assert artifact_bytes(document(shipped, logged)) == 112
    assert artifact_bytes(document(logged)) == 15_900_000
    assert artifact_bytes(document()) is None
