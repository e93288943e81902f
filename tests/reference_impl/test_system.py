import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor.errors import SubmissionError
from auditor.protocol.child.distributions import NotADistribution
from auditor.protocol.child.schedule import windows
from auditor.protocol.child.walks import one_by_one
from auditor.protocol.host import NoDistribution, Room
from auditor.protocol.roundtrip import Encoded, decode, encode
from auditor.protocol.system import Resumable
from auditor.protocol.text_bytes import text_bytes
from auditor.run.sandbox import missing
from auditor.submission import Submission
from reference_impl.config import Settings
from reference_impl.evaluate import Floats, Stream
from reference_impl.export import export_records
from reference_impl.record import open_stream
from reference_impl.runlog import RunLog
from reference_impl.score_first import evaluate_adaptive
from reference_impl.system import RecordSystem
from reference_impl.tokenizer import load_tokenizer
from reference_impl.train import new_model
from reference_impl.variants import AS_PUBLISHED, COMPLIANT, RECORDS, Variant, variant
from tests.auditor.protocol.test_ranks import shared
from tests.auditor.test_cli import auditor
from tests.reference_impl.conftest import FINEWEB
from tests.systems.protocol import charged_by

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
CPU = torch.device("cpu")
CACHES = {"pr779": "chunk_inputs", "pr834": "chunk_targets", "pr940": "window", "pr924": "window"}


def own_settings(settings: Settings, each: Variant) -> Settings:
    gated = each.record in ("pr834", "pr924")
    update = CACHES[each.record]
    last = each.record == "pr940"
    return replace(
        settings,
        val_tokens=300,
        expert_gate=gated,
        cache_update=update,
        ttt_last_chunk=last,
    )


def opened(each: Variant, settings: Settings, stream: Stream) -> RecordSystem:
    """The system as it stands before any token is known."""
    unknown = Stream(np.zeros_like(stream.array_T), stream.table, CPU)
    mixer = each.system.mixer_of(settings)
    return RecordSystem(new_model(settings, CPU), unknown, mixer, settings)


@pytest.mark.parametrize(
    ("record", "stride"), [*((record, 8) for record in RECORDS), ("pr779", 32)]
)
def test_driven_from_outside_a_twin_scores_what_it_scores_itself(
    settings: Settings, record: str, stride: int
) -> None:
    each = variant(record, COMPLIANT)
    own = replace(own_settings(settings, each), eval_stride=stride)
    stream = open_stream(own, RunLog())
    mixer = each.system.mixer_of(own)
    itself = evaluate_adaptive(new_model(own, CPU), stream, mixer, own, RunLog())
    nats_T = charged_by(opened(each, own, stream), stream.array_T)
    assert len(nats_T) == itself.tokens
    assert float(nats_T.sum()) == pytest.approx(itself.nats, rel=1e-6)
    known_T = np.zeros_like(stream.array_T)
    known_T[0] = stream.array_T[0]
    for position, probs_V in one_by_one(opened(each, own, stream), known_T, stream.positions):
        target = stream.array_T[position + 1]
        assert -math.log(probs_V[target]) == pytest.approx(nats_T[position], abs=1e-5)
        known_T[position + 1] = target


@pytest.mark.parametrize("record", RECORDS)
def test_a_published_mixer_has_no_distribution_from_its_first_count_on(
    settings: Settings, record: str
) -> None:
    each = variant(record, AS_PUBLISHED)
    own = own_settings(settings, each)
    stream = open_stream(own, RunLog())
    with pytest.raises(NotADistribution, match="must sum to 1") as caught:
        charged_by(opened(each, own, stream), stream.array_T)
    assert caught.value.total > 1.5


@pytest.mark.parametrize(
    ("record", "name"),
    [
        *((record, COMPLIANT) for record in RECORDS),
        *(pytest.param(record, AS_PUBLISHED, marks=pytest.mark.slow) for record in RECORDS),
    ],
)
def test_a_restored_system_goes_on_as_the_one_that_the_snapshot_is_of(
    settings: Settings, record: str, name: str
) -> None:
    """In the middle of a chunk and at its end, in the same object and in a new one."""
    each = variant(record, name)
    own = replace(own_settings(settings, each), ttt_chunk_tokens=64)
    stream = open_stream(own, RunLog())
    schedule = list(windows(stream.positions, own.eval_seq_len, own.eval_stride))
    asked = {len(schedule) // 2, len(schedule) // 2 + 1, len(schedule) - 1}

    def answers(system: Resumable, first: int, kept: list[bytes] | None = None) -> list[Floats]:
        """What it says of a few windows from one on; it learns in between."""
        said = []
        if not first:
            system.update(stream.array_T[:1], 0)
        for index, window in enumerate(schedule[first:], start=first):
            if index in asked:
                tokens_L = stream.array_T[window.start : window.stop]
                said.append(np.asarray(system.predict(tokens_L, window.start, 1)))
            system.update(stream.array_T[window.first + 1 : window.stop + 1], window.first + 1)
            if kept is not None:
                kept.append(system.snapshot())
        return said

    states: list[bytes] = []
    whole = answers(opened(each, own, stream), 0, states)
    assert not np.array_equal(whole[0], whole[-1])
    new = opened(each, own, stream)
    for first in (3, min(asked), min(asked) - 1):
        new.restore(states[first - 1])
        assert np.array_equal(answers(new, first), whole)


@pytest.mark.parametrize("record", ["pr779", "pr940"])
def test_a_system_learns_at_document_boundaries_that_are_the_auditors(
    settings: Settings, record: str
) -> None:
    """Windows of other lengths than its own: all is learnt, and blind charges are the same."""
    each = variant(record, COMPLIANT)
    own = own_settings(settings, each)
    stream = open_stream(own, RunLog())
    boundary = int(np.bincount(stream.array_T).argmax())
    apart = charged_by(opened(each, own, stream), stream.array_T, boundary=boundary)
    assert np.isfinite(apart).all()
    assert not np.array_equal(apart, charged_by(opened(each, own, stream), stream.array_T))


@pytest.mark.skipif(not FINEWEB.is_dir(), reason="shared/data is not here")
def test_bytes_of_real_documents_are_those_of_the_text_that_tokens_decode_to() -> None:
    path = FINEWEB / "tokenizers" / "fineweb_1024_bpe.model"
    pieces = load_tokenizer(path, 1024)
    lines = (FINEWEB / "fineweb_docs.jsonl").read_text().splitlines()[:40]
    texts = [json.loads(line)["text"] for line in lines]
    for text in [*texts, "", "a", " naïve  café\n\u2014 \U0001f9ea"]:
        tokens = np.array([1, 1, *pieces.encode(text)], dtype=np.uint16)
        assert text_bytes(path, tokens) == len(pieces.decode(tokens.tolist()).encode()), text


@pytest.mark.parametrize("data", [b"", b"no"])
def test_what_is_no_tokenizer_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.model").write_bytes(data)
    with pytest.raises(SubmissionError, match="expected a sentencepiece model"):
        text_bytes(tmp_path / "x.model", np.array([1, 2], dtype=np.uint16))


def test_tokens_past_the_pieces_are_refused(settings: Settings) -> None:
    with pytest.raises(SubmissionError, match="a piece for each token up to 900, found 384"):
        text_bytes(Path(settings.tokenizer_path), np.array([1, 900], dtype=np.uint16))


@needs_sandbox
@pytest.mark.slow
def test_a_text_comes_back_from_an_exported_record(settings: Settings, tmp_path: Path) -> None:
    (folder,) = export_records(settings, [variant("pr779", COMPLIANT)], tmp_path)
    room = Room(tokenizer=Path(settings.tokenizer_path), seconds=100)
    tokens = open_stream(settings, RunLog()).array_T[:301].astype(np.uint16)
    encoded = encode(Submission.load(folder), tokens, room, lambda doing, done: None)
    assert isinstance(encoded, Encoded)
    decoded = decode(Submission.load(folder), encoded.to_bytes(), room, lambda doing, done: None)
    assert not isinstance(decoded, NoDistribution)
    assert np.array_equal(decoded, tokens)


def proved(folder: Path, settings: Settings) -> tuple[int, dict[str, Any]]:
    """The exit code and the verdict of an audit that only reads, and makes a round trip."""
    words = ["--prove", settings.data_path, "--prove-tokens", settings.val_tokens]
    words += ["--proof", "round-trip", "--tokenizer", settings.tokenizer_path, "--format", "json"]
    done = auditor("audit", folder, *words)
    return done.returncode, json.loads(done.stdout)


@needs_sandbox
def test_a_text_that_comes_back_at_the_claimed_score_proves_four_rules(
    settings: Settings, tmp_path: Path
) -> None:
    each = variant("pr779", COMPLIANT)
    own = own_settings(settings, each)
    (folder,) = export_records(own, [each], tmp_path)
    _, verdict = proved(folder, own)
    results = {result["rule"]: result for result in verdict["results"]}
    for rule in ("strict-prefix", "full-distribution", "score-before-update", "artifact-only"):
        assert (results[rule]["outcome"], results[rule]["strength"]) == ("pass", "proved"), rule
        assert "300 tokens" in results[rule]["reason"]
    assert any(said.startswith("round trip: 300 tokens") for said in verdict["overrides"])


@needs_sandbox
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_cannot_be_coded_fails_where_nothing_else_was_run(
    settings: Settings, tmp_path: Path
) -> None:
    each = variant("pr779", AS_PUBLISHED)
    own = own_settings(settings, each)
    (folder,) = export_records(own, [each], tmp_path)
    code, verdict = proved(folder, own)
    assert code == 1
    results = {result["rule"]: result for result in verdict["results"]}
    failed = results["full-distribution"]
    assert (failed["outcome"], failed["strength"]) == ("fail", "proved")
    assert "the probabilities of all tokens sum to" in failed["findings"][0]["message"]
    assert results["strict-prefix"]["outcome"] == "inconclusive"


@needs_sandbox
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("record", ["pr779", "pr940"])
def test_a_record_that_adapts_is_charged_the_same_by_two_processes(
    settings: Settings, tmp_path: Path, record: str
) -> None:
    own = own_settings(settings, variant(record, COMPLIANT))
    (folder,) = export_records(own, [variant(record, COMPLIANT)], tmp_path)
    words = ["evaluate", folder, own.data_path, "--tokenizer", own.tokenizer_path]
    words += ["--tokens", 300, "-o"]
    one = auditor(*words, tmp_path / "one.npy")
    assert one.returncode == 0, one.stderr
    two = shared(tmp_path, *words, tmp_path / "two.npy")
    assert two.returncode == 0, two.stderr
    assert np.allclose(np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy"), atol=1e-9)


@needs_sandbox
@pytest.mark.parametrize(
    "record",
    ["pr940", *(pytest.param(r, marks=pytest.mark.slow) for r in ("pr779", "pr834", "pr924"))],
)
def test_an_exported_record_as_published_cannot_be_encoded(
    settings: Settings, tmp_path: Path, record: str
) -> None:
    """And the command says what its probabilities come to instead."""
    each = variant(record, AS_PUBLISHED)
    (folder,) = export_records(own_settings(settings, each), [each], tmp_path)
    words = [folder, settings.data_path, "-o", tmp_path / "bits", "--tokens", 300]
    done = auditor("encode", *words, "--tokenizer", settings.tokenizer_path)
    assert (done.returncode, done.stderr) == (1, "")
    found = re.search(
        r"FAIL full-distribution: the probabilities at position \d+ must sum to 1, got ([\d.]+);",
        done.stdout,
    )
    assert found is not None
    assert float(found[1]) > 1.01
    assert not (tmp_path / "bits").exists()
