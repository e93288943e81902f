"""The public scripts, unmodified, against `as_published`: equal weights give equal numbers."""

import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor.run.sandbox import Limits, execute, missing
from auditor.run.streams import Stream as Drawn
from auditor.run.vocabulary import VOCAB_SIZE, of_noise
from auditor.run.workspace import UNTRAINED, Inputs, lay_out
from auditor.submission import Submission
from reference_impl.config import Settings
from reference_impl.model.gpt import GPT
from reference_impl.model.published import from_published
from reference_impl.presets import preset
from reference_impl.record import open_stream
from reference_impl.runlog import RunLog
from reference_impl.variants import AS_PUBLISHED, variant

CHILD = Path(__file__).with_name("parity_sitecustomize.py")
REPOSITORY = os.environ.get("PARAMETER_GOLF_GIT")
RECORDS = "records/track_10min_16mb"
TOKENS, TRAIN_TOKENS = 8192, 65_536
BUCKETS_SCALE = 1 / 1024
LOGITS_TOLERANCE = 1e-4
NATS_TOLERANCE = 1e-4
TTT_LR = 1e-3  # high enough that adapting otherwise would show

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not REPOSITORY, reason="PARAMETER_GOLF_GIT names no repository of public records"
    ),
    pytest.mark.skipif(
        missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
    ),
]


@dataclass(frozen=True)
class Published:
    """Where a script lies, and the switches that its published runs set."""

    folder: str
    environment: dict[str, str]


QUERIES = {
    "USE_MIXER": "1",
    "QTTT": "1",
    "TTT_EPOCHS": "1",
    "TTT_FREEZE_BLOCKS": "1",
    "ADAPTIVE_LR": "0",
    "USE_POLYAK": "0",
}
PUBLISHED = {
    "pr779": Published("2026-03-25_BackoffNgramMixer_DriftFreeTTT_0.6683", QUERIES),
    "pr834": Published("2026-03-26_LearnedMultiExpertGate_FrozenOracle_BackoffTTT_0.1663", QUERIES),
    "pr940": Published(
        "2026-03-26_ScoreFirst_TTT_Ngram_Backoff", {"TTT_ENABLED": "1", "NGRAM_CACHE": "1"}
    ),
    "pr924": Published("2026-03-27_FrozenNgramOracle_order16_TTT1epoch", {"NGRAM_MAX_ORDER": "16"}),
}
SIZES = {
    "ITERATIONS": "20",
    "WARMDOWN_ITERS": "5",
    "EMA_DECAY": "0.5",
    "TRAIN_BATCH_TOKENS": "4096",
    "TRAIN_SEQ_LEN": "256",
    "EVAL_SEQ_LEN": "256",
    "EVAL_STRIDE": "64",
    "NUM_LAYERS": "11",
    "MODEL_DIM": "128",
    "NUM_HEADS": "8",
    "MLP_MULT": "3",
    "TTT_CHUNK_TOKENS": "2048",
    "TTT_LR": str(TTT_LR),
}
FROM_SCRIPT = ("EMBED_LR", "TIED_EMBED_LR", "HEAD_LR", "MATRIX_LR", "SCALAR_LR")


def text(tokens: int, seed: int) -> Drawn:
    """Draw documents from a sparse chain, so that contexts repeat."""
    generator = np.random.default_rng(seed)
    successors = np.random.default_rng(0).integers(5, VOCAB_SIZE, size=(VOCAB_SIZE, 4))
    drawn = np.empty(tokens, dtype=np.uint16)
    drawn[0] = 1
    for place in range(1, tokens):
        ends = generator.random() < 0.01
        drawn[place] = 1 if ends else successors[drawn[place - 1], generator.integers(4)]
    return Drawn("text", drawn, np.full(tokens, np.nan), of_noise())


def run_published(record: str, root: Path) -> tuple[dict[str, Any], float]:
    """Run the script, and return what was captured and the loss that it prints last."""
    published = PUBLISHED[record]
    number = record.removeprefix("pr")
    source = f"{REPOSITORY}@refs/pull/{number}/head:{RECORDS}/{published.folder}"
    train = text(TRAIN_TOKENS, seed=2)
    inputs = Inputs(validation=text(TOKENS + 1, seed=1), train=train, settings=UNTRAINED)
    workspace = lay_out(root, Submission.load(source), inputs, {})
    (root / "tools" / "sitecustomize.py").write_bytes(CHILD.read_bytes())
    environment = {
        **workspace.environment,
        **SIZES,
        "NUM_KV_HEADS": str(settings_of(record).num_kv_heads),
        **published.environment,
        "STRICT_PREFIX_SCALE": repr(BUCKETS_SCALE),
    }
    for name in FROM_SCRIPT:
        del environment[name]
    finished = execute(
        [sys.executable, "-m", "recorder", "train_gpt.py"],
        workspace=root,
        folder=workspace.folder,
        environment=environment,
        limits=Limits(seconds=600, bytes=6 * 2**30),
        backend="bubblewrap",
        on_event=lambda line: None,
    )
    assert finished.returncode == 0, finished.output[-2000:]
    losses = re.findall(r"^\w+_exact val_loss:(\S+)", finished.output, flags=re.MULTILINE)
    return torch.load(root / "captured.pt", weights_only=True), float(losses[-1])


def settings_of(record: str) -> Settings:
    """Return the preset with the sizes of the run."""
    full = preset(record)
    return replace(
        full,
        vocab_size=VOCAB_SIZE,
        num_layers=11,
        model_dim=128,
        num_heads=8,
        mlp_mult=3.0,
        bigram_vocab_size=256,
        bigram_dim=16,
        value_embed_dim=16,
        rope_dims=8,
        train_seq_len=256,
        train_batch_tokens=4096,
        eval_seq_len=256,
        eval_stride=64,
        ngram_buckets=full.ngram_buckets // 1024,
        ttt_chunk_tokens=2048,
        ttt_lr=TTT_LR,
        compile=False,
    )


@pytest.mark.parametrize("record", PUBLISHED)
def test_the_same_weights_give_the_same_numbers(record: str, tmp_path: Path) -> None:
    captured, printed_nats = run_published(record, tmp_path)
    settings = replace(
        settings_of(record),
        data_path=str(tmp_path / "data"),
        tokenizer_path=str(tmp_path / "data" / "tokenizer.model"),
    )
    model = GPT(settings)
    model.load_state_dict(from_published(captured["state"]))
    model.eval()
    for tokens_BT, theirs in zip(captured["batches"], captured["logits"], strict=True):
        with torch.no_grad():
            ours = model(tokens_BT).logits
        assert ours.std() > 0.1
        difference = float((ours - theirs).abs().max())
        sys.stdout.write(
            f"{record} {tuple(tokens_BT.shape)}: largest difference of logits {difference:.2e}\n"
        )
        assert difference < LOGITS_TOLERANCE
    system = variant(record, AS_PUBLISHED).system
    teacher = system.teacher(settings)
    if teacher is not None:
        teacher.prefill()
    stream = open_stream(settings, RunLog())
    mixer = system.mixer(settings, teacher)
    score = system.evaluate(model, stream, mixer, settings, RunLog()).final
    difference = score.nats_per_token - printed_nats
    sys.stdout.write(f"{record}: {printed_nats:.8f} nats, ours {difference:+.2e}\n")
    assert abs(difference) < NATS_TOLERANCE
