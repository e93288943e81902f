import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from reference_impl.adapt_first import overrunning_windows
from reference_impl.config import Settings
from reference_impl.errors import TrainingError
from reference_impl.evaluate import (
    Ints,
    NeuralOnly,
    Score,
    Stream,
    charge_windows,
    evaluate_plain,
    score_windows,
    validate,
)
from reference_impl.mixture.entropy import temper
from reference_impl.model.gpt import GPT, Output
from reference_impl.ngram.exact import ExactMixer
from reference_impl.ngram.hashed import HashedMixer
from reference_impl.record import open_stream
from reference_impl.runlog import RunLog
from reference_impl.score_first import evaluate_adaptive
from reference_impl.tokenizer import load_tokenizer
from reference_impl.train import new_model
from reference_impl.windows import chunks_of, sliding_windows

CPU = torch.device("cpu")
# A batch of another shape adds 32-bit floats in another order.
TOLERANCE = 1e-6


@pytest.fixture
def stream(settings: Settings) -> Stream:
    return open_stream(settings, RunLog())


@pytest.fixture
def model(settings: Settings) -> GPT:
    model = new_model(settings, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def evaluate_sliding(model: GPT, stream: Stream, settings: Settings, log: RunLog) -> Score:
    score = evaluate_plain(model, stream, settings, log)
    assert score is not None
    return score


@dataclass
class Witness(NeuralOnly):
    """Charges the model's own nats, and notes in order what was charged and what was counted."""

    events: list[tuple[str, list[int]]] = field(default_factory=list)

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        self.events += [("charged", row) for row in targets_BT.tolist()]
        return super().nats(output, inputs_BL, targets_BT)

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        self.events.append(("counted", tokens_T[lead:].tolist()))


@given(
    length=st.integers(1, 40),
    stride=st.integers(1, 40),
    extra=st.integers(0, 200),
    chunk=st.integers(1, 99),
)
def test_every_position_is_charged_exactly_once(
    length: int, stride: int, extra: int, chunk: int
) -> None:
    windows = sliding_windows(length + extra, length, min(stride, length))
    charged = [p for w in windows for p in range(w.first, w.stop)]
    assert charged == list(range(length + extra))
    assert all(w.stop - w.start == length and w.start <= w.first for w in windows)
    assert [w for c in chunks_of(windows, chunk) for w in c] == windows


def test_the_published_stride_gives_the_published_number_of_windows() -> None:
    windows = sliding_windows(2048 * 100, 2048, 64)
    assert len(windows) == 1 + (2048 * 100 - 2048) // 64
    assert [len(c) for c in chunks_of(windows, 2**16)] == [993, 1024, 1024, 128]


def test_each_token_is_charged_once_and_counted_only_afterwards(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    witness = Witness()
    score = evaluate_adaptive(model, stream, witness, settings, RunLog())
    charged: list[int] = []
    counted: list[int] = []
    tokens = stream.array_T.tolist()
    for kind, event in witness.events:
        if kind == "charged":
            charged += event
        else:
            counted += event
            assert len(counted) <= len(charged) + 1  # the first token is given, never charged
    assert charged == tokens[1:]
    assert counted == tokens[:-1]
    assert score.tokens == len(tokens) - 1
    assert [kind for kind, _ in witness.events].count("counted") == math.ceil(score.tokens / 128)


def test_contexts_reach_back_beyond_the_input_of_a_short_window(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    """The last windows of an evaluation that overruns the end are shorter than a context."""
    longest, tokens = settings.ngram_max_order, stream.array_T.tolist()
    seen: list[list[int]] = []

    class Contexts(Witness):
        def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
            width = targets_BT.shape[1]
            for inputs_L in inputs_BL.tolist():
                stops = range(len(inputs_L) - width + 1, len(inputs_L) + 1)
                seen.extend(inputs_L[max(0, stop - longest) : stop] for stop in stops)
            return super().nats(output, inputs_BL, targets_BT)

    windows = overrunning_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    assert windows[-1].stop - windows[-1].start < settings.eval_stride + longest
    growing = replace(settings, cache_update="window")
    charge_windows(model, stream, windows, Contexts(), growing)
    charged = [p for window in windows for p in range(window.first, window.stop)]
    assert seen == [tokens[max(0, p + 1 - longest) : p + 1] for p in charged]


def single_window_nats(model: GPT, stream: Stream, *, tempered: bool) -> float:
    total = 0.0
    for window in sliding_windows(stream.positions, 32, 8):
        logits = model(stream.tokens_T[None, window.start : window.stop]).logits[0]
        log_probs = torch.log_softmax((temper(logits) if tempered else logits).double(), dim=-1)
        targets = stream.array_T[window.first + 1 : window.stop + 1]
        rows = np.arange(window.first - window.start, 32)
        total -= float(log_probs[rows, targets].sum())
    return total


@torch.no_grad()
def test_both_stages_sum_the_nats_of_single_windows(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    with torch.no_grad():
        model.tok_embed.weight.mul_(8)  # so confident that the temperature shows
    plain = single_window_nats(model, stream, tempered=False)
    tempered = single_window_nats(model, stream, tempered=True)
    assert abs(plain - tempered) > 100 * TOLERANCE * plain
    score = evaluate_sliding(model, stream, settings, RunLog())
    assert score.nats == pytest.approx(plain, rel=TOLERANCE)
    still = replace(settings, ttt_epochs=0)
    score = evaluate_adaptive(model, stream, Witness(), still, RunLog())
    assert score.nats == pytest.approx(tempered, rel=TOLERANCE)


def test_the_bytes_are_those_of_the_decoded_text(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    tokenizer = load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size)
    documents: list[list[int]] = []
    for token in stream.array_T.tolist():
        if token == 1:
            documents.append([])
        else:
            documents[-1].append(token)
    expected = sum(len(tokenizer.decode(document).encode()) for document in documents)
    assert evaluate_sliding(model, stream, settings, RunLog()).text_bytes == expected
    assert validate(model, stream, settings).text_bytes == expected


def test_bits_per_byte_come_from_the_sums(model: GPT, stream: Stream, settings: Settings) -> None:
    score = validate(model, stream, settings)
    expected = score.nats_per_token / math.log(2) * score.tokens / score.text_bytes
    assert score.bits_per_byte == pytest.approx(expected)


@examples(max_examples=5, deadline=None)
@given(batch=st.integers(1, 200))
def test_the_batch_size_does_not_change_the_score(settings: Settings, batch: int) -> None:
    stream, model = open_stream(settings, RunLog()), new_model(settings, CPU)
    windows = sliding_windows(stream.positions, 32, 8)
    one, many = (
        score_windows(model, stream, windows, NeuralOnly(), replace(settings, eval_batch_seqs=n))
        for n in (1, batch)
    )
    assert many.nats == pytest.approx(one.nats, rel=TOLERANCE)
    assert (many.tokens, many.text_bytes) == (one.tokens, one.text_bytes)


@pytest.mark.parametrize("mixer_of", [HashedMixer, ExactMixer])
def test_a_later_token_changes_no_earlier_charge(
    stream: Stream, settings: Settings, mixer_of: type[HashedMixer] | type[ExactMixer]
) -> None:
    """The running score of the chunks before a change is the same to the last digit."""
    changed_T = stream.array_T.copy()
    changed_T[600:] = changed_T[600:][::-1]
    logs = []
    for tokens_T in (stream.array_T, changed_T):
        log = RunLog()
        changed = Stream(tokens_T, stream.table, CPU)
        evaluate_adaptive(new_model(settings, CPU), changed, mixer_of(settings), settings, log)
        logs.append([line.split(" time=")[0] for line in log.lines if "ttt_chunk" in line])
    assert logs[0][:4] == logs[1][:4]
    assert logs[0][4] != logs[1][4]


def test_the_last_chunk_teaches_nothing(
    model: GPT, stream: Stream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []
    monkeypatch.setattr(
        "reference_impl.adapt.Adapter.learn",
        lambda self, chunk, tokens_T, table: learned.append((chunk, len(tokens_T))),
    )
    evaluate_adaptive(model, stream, Witness(), settings, RunLog())
    assert learned == [(chunk, 129) for chunk in range(stream.positions // 128)]


def test_a_published_mixer_scores_below_a_compliant_one(stream: Stream, settings: Settings) -> None:
    scores = [
        evaluate_adaptive(new_model(settings, CPU), stream, mixer, settings, RunLog()).bits_per_byte
        for mixer in (HashedMixer(settings), ExactMixer(settings))
    ]
    assert scores[0] < scores[1]


def test_scores_that_are_no_numbers_are_refused(stream: Stream, settings: Settings) -> None:
    broken = new_model(settings, CPU)
    with torch.no_grad():
        broken.tok_embed.weight[5] = math.nan
    with pytest.raises(TrainingError, match="validation loss must be finite, got nan"):
        evaluate_sliding(broken, stream, settings, RunLog())


def test_score_lines_have_the_challenge_shape(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    log = RunLog()
    score = evaluate_sliding(model, stream, replace(settings, eval_stride=16), log)
    short, exact = log.lines
    loss, bpb = score.nats_per_token, score.bits_per_byte
    assert short.startswith(
        f"final_int6_sliding_window val_loss:{loss:.4f} val_bpb:{bpb:.4f} stride:16 eval_time:"
    )
    assert exact == f"final_int6_sliding_window_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}"
