"""Whose score is it: artifacts of other shards, and those that saw other validation text."""

import hashlib
import json
from pathlib import Path

import pytest

import tests.systems
from auditor.audit import Plan, audit
from auditor.run.sandbox import missing
from auditor.submission import File, Submission
from auditor.verdict import Outcome, Strength, Verdict

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
HONEST = (Path(tests.systems.__file__).parent / "packs.py").read_text()
ON_TEXT = frozenset({"swap", "transplant"})
BEFORE = "    # before packing\n"
TWINS = {
    "counts-in-memory": (
        BEFORE,
        "    counts = torch.ones(V, V)\n"
        "    counts.index_put_((train[:-1], train[1:]), torch.ones(len(train) - 1), True)\n"
        "    extra = counts / counts.sum(1, keepdim=True)\n",
    ),
    # Honest: its evaluation draws, and how often training drew follows from the shards.
    "draws-by-its-data": (
        BEFORE,
        "    torch.rand(int(train.sum()) % 1000 + 1)\n"
        "    drawn = lambda self, x: torch.rand(len(x), V).double().softmax(1)\n"
        "    extra = type('Drawn', (), {'__getitem__': drawn})()\n",
    ),
    "learns-before-packing": (BEFORE, "    learn(model, tokens, 4)\n"),
    "notes-its-loss": (BEFORE, "    note = evaluate(model, tokens, tables)[0]\n"),
    "is-never-twice-the-same": (BEFORE, "    note = os.urandom(8)\n"),
    "keeps-its-model": (
        '    with open("final_model.int8.ptz", "rb") as file:\n'
        "        unpacked = torch.load(io.BytesIO(zlib.decompress(file.read())))\n",
        '    unpacked = {"weights": model.state_dict()}\n',
    ),
}


def verdict_of(twin: str | None, budget_seconds: float = 1e3) -> Verdict:
    text = HONEST
    if twin is not None:
        old, new = TWINS[twin]
        assert text.count(old) == 1
        text = text.replace(old, new)
    contents = {
        "train_gpt.py": text.encode(),
        "submission.json": json.dumps({"val_bpb": 3.0}).encode(),
        "train_seed1.log": b"seed:1\nfinal_int8_exact val_loss:6.00000000 val_bpb:3.00000000\n",
    }
    files = {path: File(data, hashlib.sha256(data).hexdigest()) for path, data in contents.items()}
    plan = Plan(run=True, experiments=ON_TEXT, budget_seconds=budget_seconds)
    return audit(Submission("packs", files), plan)


def outcomes(verdict: Verdict) -> tuple[Outcome, Outcome]:
    return (
        verdict.result("artifact-only").outcome,
        verdict.result("validation-independence").outcome,
    )


def test_an_honest_artifact_brings_its_score_and_knows_no_validation_text():
    verdict = verdict_of(None)
    assert verdict.trouble is None
    assert outcomes(verdict) == (Outcome.PASS, Outcome.PASS)
    assert verdict.result("artifact-only").strength is Strength.RAN
    assert verdict.evidence["ArtifactTransplant"]["files"] == ("final_model.int8.ptz",)
    assert "on text: ITERATIONS=20" in verdict.overrides


@pytest.mark.slow
def test_counts_that_are_carried_in_memory_are_no_part_of_the_artifact():
    verdict = verdict_of("counts-in-memory")
    result = verdict.result("artifact-only")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.RAN)
    seen = verdict.evidence["ArtifactTransplant"]
    assert seen["repeat_nats"] == seen["score_nats"] != seen["transplanted_nats"]
    assert verdict.result("validation-independence").outcome is Outcome.PASS


@pytest.mark.slow
def test_random_numbers_are_no_part_of_the_artifact_and_fail_nobody():
    result = verdict_of("draws-by-its-data").result("artifact-only")
    assert (result.outcome, result.strength) == (Outcome.PASS, Strength.RAN)


@pytest.mark.slow
def test_an_artifact_that_learnt_the_validation_text_fails():
    verdict = verdict_of("learns-before-packing")
    result = verdict.result("validation-independence")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.RAN)
    seen = verdict.evidence["ValidationSwap"]
    assert seen["swapped_nats"] > seen["score_nats"]
    assert verdict.result("artifact-only").outcome is Outcome.PASS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("twin", "said"),
    [
        ("notes-its-loss", "the score does not depend on what differs"),
        ("is-never-twice-the-same", "between two equal runs"),
    ],
)
def test_a_difference_that_means_nothing_fails_nobody(twin, said):
    result = verdict_of(twin).result("validation-independence")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert said in (result.reason or "")


@pytest.mark.slow
def test_without_a_file_that_is_read_back_there_is_nothing_to_hand_over():
    verdict = verdict_of("keeps-its-model")
    assert "wrote no file that it read back" in verdict.evidence["ArtifactTransplant"]["absent"]
    assert Outcome.FAIL not in outcomes(verdict)


def test_what_the_budget_does_not_hold_is_named():
    verdict = verdict_of(None, budget_seconds=0)
    assert "left of the budget of 0 s" in verdict.evidence["ValidationSwap"]["absent"]
    assert "not asked for" in verdict.evidence["PrefixSensitivity"]["absent"]
    assert "NoiseBound" in verdict.evidence
