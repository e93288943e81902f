"""Score the validation stream: each token once, left to right, before anything learns from it.

Position p of the stream is charged for predicting token p + 1.
Shapes: B windows, L tokens in a window, T charged positions at its end, V vocabulary.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.adapt import Adapter
from reference_impl.config import Settings
from reference_impl.device import mixed_precision
from reference_impl.errors import TrainingError
from reference_impl.mixture.entropy import SHARPEST_TEMPERATURE, temper
from reference_impl.model.gpt import GPT, Output, cross_entropy
from reference_impl.runlog import RunLog
from reference_impl.tokenizer import ByteTable

Ints = npt.NDArray[np.int64]
FIRST_CHUNKS_LOGGED, CHUNK_LOG_EVERY = 5, 10


class Charger(Protocol):
    """Turns what the model says into what each target is charged."""

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return the nats of each target."""
        ...


class Mixer(Charger, Protocol):
    """A charger that also counts what it has seen."""

    def update(self, tokens_T: Ints, counted: int | None = None) -> None:
        """Count the n-grams that end in the last `counted` tokens, or in any of them.

        All tokens have been charged, and they come in the order of the stream.
        """
        ...


class NeuralOnly:
    """No mixture: the charge is the model's own."""

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return the cross-entropy of each target."""
        del inputs_BL
        targets = torch.from_numpy(targets_BT).to(output.logits.device)
        nats_T = functional.cross_entropy(
            output.logits.flatten(0, 1), targets.flatten(), reduction="none"
        )
        return nats_T.view(targets.shape)


class Stream:
    """The validation tokens on the device, with what each is worth in bytes."""

    def __init__(self, tokens_T: Ints, table: ByteTable, device: torch.device) -> None:
        """Copy tokens and tables to the device."""
        self.array_T = tokens_T
        self.tokens_T = torch.from_numpy(tokens_T).to(device)
        self.table = ByteTable(
            table.base.to(device), table.leading_space.to(device), table.boundary.to(device)
        )
        self.device = device
        self.positions = len(tokens_T) - 1


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over charged positions."""

    nats: float = 0.0
    tokens: int = 0
    text_bytes: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        """Return the score of both parts together."""
        return Score(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.text_bytes + other.text_bytes,
        )

    @property
    def nats_per_token(self) -> float:
        """Return the mean nats, the challenge's val_loss."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """Return the challenge's val_bpb."""
        return self.nats / math.log(2) / self.text_bytes


@dataclass(frozen=True, slots=True)
class Window:
    """A span of input, of which the positions from first to stop are charged."""

    start: int
    first: int
    stop: int


def sliding_windows(positions: int, length: int, stride: int) -> list[Window]:
    """Return windows that charge every position once; the first charges all it covers."""
    starts = list(range(0, positions - length + 1, stride))
    if starts[-1] != positions - length:
        starts.append(positions - length)
    windows = []
    charged = 0
    for start in starts:
        windows.append(Window(start, charged, start + length))
        charged = start + length
    return windows


def chunks_of(windows: list[Window], chunk_tokens: int) -> list[list[Window]]:
    """Group windows by the chunk in which their first charged position lies."""
    return [list(group) for _, group in groupby(windows, lambda w: w.first // chunk_tokens)]


def score_windows(
    model: GPT,
    stream: Stream,
    windows: list[Window],
    charger: Charger,
    *,
    batch: int,
    tempered: bool,
) -> Score:
    """Charge the windows' own positions, window by window in stream order."""
    table = stream.table
    loss_sum = torch.zeros((), dtype=torch.float64, device=stream.device)
    byte_sum = torch.zeros((), dtype=torch.float64, device=stream.device)
    tokens = 0
    for group in _batches(windows, batch):
        nats_BT = _nats(model, stream, group, charger, tempered=tempered).to(stream.device)
        for row, window in enumerate(group):
            nats_T = nats_BT[row]
            targets_T = stream.tokens_T[window.first + 1 : window.stop + 1]
            previous_T = stream.tokens_T[window.first : window.stop]
            loss_sum += nats_T.to(torch.float64).sum()
            bytes_T = table.base[targets_T].to(torch.int64)
            bytes_T += table.spaces(targets_T, previous_T)
            byte_sum += bytes_T.to(torch.float64).sum()
            tokens += window.stop - window.first
    if not math.isfinite(float(loss_sum)):
        raise TrainingError(f"the validation loss must be finite, got {float(loss_sum)}")
    return Score(float(loss_sum), tokens, float(byte_sum))


def _batches(windows: list[Window], batch: int) -> Iterator[list[Window]]:
    """Yield neighbours that charge equally many positions, at most `batch` at a time."""
    for _, same in groupby(windows, lambda window: window.stop - window.first):
        group = list(same)
        for first in range(0, len(group), batch):
            yield group[first : first + batch]


@torch.inference_mode()
def _nats(
    model: GPT, stream: Stream, group: list[Window], charger: Charger, *, tempered: bool
) -> Tensor:
    charged = group[0].stop - group[0].first
    inputs_BL = np.stack([stream.array_T[w.start : w.stop] for w in group])
    targets_BT = np.stack([stream.array_T[w.first + 1 : w.stop + 1] for w in group])
    with mixed_precision(stream.device):
        output: Output = model(torch.from_numpy(inputs_BL).to(stream.device))
    output = output.charged(charged)
    if tempered:
        output = output._replace(logits=temper(output.logits))
    return charger.nats(output, inputs_BL, targets_BT)


def evaluate_sliding(model: GPT, stream: Stream, settings: Settings, log: RunLog) -> Score:
    """Score the stream with the model alone."""
    started = time.perf_counter()
    windows = sliding_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    model.eval()
    score = score_windows(
        model, stream, windows, NeuralOnly(), batch=settings.eval_batch_seqs, tempered=False
    )
    _log_final("final_int6_sliding_window", score, settings, started, log)
    return score


def evaluate_adaptive(
    model: GPT, stream: Stream, mixer: Mixer, settings: Settings, log: RunLog
) -> Score:
    """Score each chunk with model and mixer, and only then let both learn from it."""
    started = time.perf_counter()
    windows = sliding_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    chunks = chunks_of(windows, settings.ttt_chunk_tokens)
    adapter = Adapter(model, settings, len(chunks))
    log(
        f"TTT: epochs={settings.ttt_epochs} lr={settings.ttt_lr} freeze_first=1 "
        f"chunk={settings.ttt_chunk_tokens} opt=adamw"
    )
    log(f"TTT temperature: {SHARPEST_TEMPERATURE}")
    log(
        f"ttt:start chunks={len(chunks)} chunk_tokens={settings.ttt_chunk_tokens} "
        f"windows={len(windows)} stride={settings.eval_stride} lr={settings.ttt_lr} "
        f"epochs={settings.ttt_epochs} opt=adamw freeze_first=1"
    )
    log(f"ttt:params unfrozen={adapter.unfrozen} frozen={adapter.frozen}")
    model.eval()
    score = Score()
    for index, chunk in enumerate(chunks):
        score += score_windows(
            model, stream, chunk, mixer, batch=settings.eval_batch_seqs, tempered=True
        )
        first, stop = chunk[0].first, chunk[-1].stop
        # The token at `stop` is charged too; as in the record, the next chunk counts it.
        mixer.update(stream.array_T[first:stop])
        # Nothing follows the last chunk that could use what it teaches.
        if index < len(chunks) - 1:
            adapter.learn(index, stream.tokens_T[first : stop + 1], stream.table)
        if index < FIRST_CHUNKS_LOGGED or index % CHUNK_LOG_EVERY == 0 or index == len(chunks) - 1:
            log(
                f"  ttt_chunk [{index + 1}/{len(chunks)}] bpb={score.bits_per_byte:.6f} "
                f"time={time.perf_counter() - started:.1f}s"
            )
    log(
        f"ttt:done val_loss={score.nats_per_token:.6f} val_bpb={score.bits_per_byte:.6f} "
        f"elapsed={time.perf_counter() - started:.1f}s"
    )
    _log_final("final_int6_ttt", score, settings, started, log)
    return score


def _log_final(stage: str, score: Score, settings: Settings, started: float, log: RunLog) -> None:
    loss, bpb = score.nats_per_token, score.bits_per_byte
    log(
        f"{stage} val_loss:{loss:.4f} val_bpb:{bpb:.4f} stride:{settings.eval_stride} "
        f"eval_time:{1000 * (time.perf_counter() - started):.0f}ms"
    )
    log(f"{stage}_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


@torch.inference_mode()
def validate(model: GPT, stream: Stream, settings: Settings) -> Score:
    """Score whole sequences side by side, without overlap, as training does to watch itself."""
    score = Score()
    length = settings.train_seq_len
    model.eval()
    span = length * settings.eval_batch_seqs
    for first in range(0, stream.positions // length * length, span):
        stop = min(first + span, stream.positions // length * length)
        previous_T, targets_T = stream.tokens_T[first:stop], stream.tokens_T[first + 1 : stop + 1]
        with mixed_precision(stream.device):
            mean = cross_entropy(model, previous_T.view(-1, length), targets_T.view(-1, length))
        text_bytes = stream.table.count(targets_T, previous_T).sum()
        score += Score(float(mean.double() * (stop - first)), stop - first, float(text_bytes))
    model.train()
    return score
