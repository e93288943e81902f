"""Charge windows of the validation stream, and add up what they cost.

Position p of the stream is charged for predicting token p + 1.
Shapes: B windows, L tokens in a window, T charged positions at its end, V vocabulary.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.device import fitting, mixed_precision, rank_share, sum_over_ranks
from reference_impl.errors import TrainingError
from reference_impl.mixture.entropy import temper
from reference_impl.model.gpt import GPT, Output, cross_entropy
from reference_impl.runlog import RunLog
from reference_impl.tokenizer import ByteTable
from reference_impl.windows import Window, sliding_windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Mixer(Protocol):
    """Turns what the model says into what each target is charged, and counts what was charged."""

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return the nats of each target; the inputs may begin before the model's own."""
        ...

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Return what every token of the vocabulary would be charged, negated, at each position."""
        ...

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count the n-grams that end after the first `lead` tokens, all of which have been charged.

        The tokens after the lead come in the order of the stream.
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

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Return the model's own distributions."""
        del inputs_BL
        log_probs: Floats = torch.log_softmax(output.logits.double(), dim=-1).cpu().numpy()
        return log_probs

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count nothing."""


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

    def reveal(self, tokens_T: Ints, start: int) -> None:
        """Put tokens in their place, in a stream that is not known from the beginning."""
        stop = start + len(tokens_T)
        self.array_T[start:stop] = tokens_T
        self.tokens_T[start:stop] = torch.from_numpy(tokens_T)


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

    def over_ranks(self, device: torch.device) -> "Score":
        """Return the score of all processes together; it must be a number."""
        sums = torch.tensor([self.nats, self.tokens, self.text_bytes], dtype=torch.float64)
        nats, tokens, text_bytes = sum_over_ranks(sums.to(device)).tolist()
        if not math.isfinite(nats):
            raise TrainingError(f"the validation loss must be finite, got {nats}")
        return Score(nats, int(tokens), text_bytes)

    @property
    def nats_per_token(self) -> float:
        """Return the mean nats, the challenge's val_loss."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """Return the challenge's val_bpb."""
        return self.nats / math.log(2) / self.text_bytes


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model file scores: by the model alone, if the record prints that, and in the end."""

    plain: Score | None
    final: Score


def score_windows(
    model: GPT, stream: Stream, windows: list[Window], mixer: Mixer, settings: Settings
) -> Score:
    """Charge windows that follow each other, each process its share of them.

    A cache that grows window by window counts the other processes' windows too, each in its place,
    so that every charge is what one process alone would have made.
    """
    mine = rank_share(len(windows))
    grows = settings.cache_update == "window"
    if grows:
        count_windows(stream, windows[: mine.start], mixer, settings)
    score = charge_windows(model, stream, windows[mine], mixer, settings)
    if grows:
        count_windows(stream, windows[mine.stop :], mixer, settings)
    return score.over_ranks(stream.device)


def charge_windows(
    model: GPT, stream: Stream, windows: list[Window], mixer: Mixer, settings: Settings
) -> Score:
    """Charge the windows' own positions in this process, window by window in stream order."""
    grows = settings.cache_update == "window"
    loss_sum = torch.zeros((), dtype=torch.float64, device=stream.device)
    byte_sum = torch.zeros((), dtype=torch.float64, device=stream.device)
    tokens = 0
    for group in _batches(windows, settings):
        for window, nats_T in _charges(model, stream, group, mixer, settings, together=not grows):
            targets_T = stream.tokens_T[window.first + 1 : window.stop + 1]
            previous_T = stream.tokens_T[window.first : window.stop]
            loss_sum += nats_T.to(torch.float64).sum()
            bytes_T = stream.table.base[targets_T].to(torch.int64)
            bytes_T += stream.table.spaces(targets_T, previous_T)
            byte_sum += bytes_T.to(torch.float64).sum()
            tokens += window.stop - window.first
            if grows:
                count_windows(stream, [window], mixer, settings)
    return Score(float(loss_sum), tokens, float(byte_sum))


def count_windows(stream: Stream, windows: list[Window], mixer: Mixer, settings: Settings) -> None:
    """Let the mixer count what windows that follow each other are charged for."""
    if windows:
        first = windows[0].first
        start = windows[0].start - _before(windows[0], settings)
        # Token 0 is given, never charged; it is counted with the first target.
        lead = first - start + 1 if first else 0
        mixer.update(stream.array_T[start : windows[-1].stop + 1], lead)


def _batches(windows: list[Window], settings: Settings) -> Iterator[list[Window]]:
    """Yield neighbours of one shape, at most EVAL_BATCH_SEQS at a time."""

    def shape(window: Window) -> tuple[int, int, int]:
        return window.stop - window.first, window.stop - window.start, _before(window, settings)

    for _, same in groupby(windows, shape):
        group = list(same)
        for first in range(0, len(group), settings.eval_batch_seqs):
            yield group[first : first + settings.eval_batch_seqs]


def _before(window: Window, settings: Settings) -> int:
    """Return how many tokens before its input a window's contexts may reach to."""
    return min(window.start, settings.ngram_max_order)


def _charges(
    model: GPT,
    stream: Stream,
    group: list[Window],
    mixer: Mixer,
    settings: Settings,
    *,
    together: bool,
) -> Iterator[tuple[Window, Tensor]]:
    """Yield each window with its nats; one by one if the cache grows in between."""
    before = _before(group[0], settings)
    seen_BL = np.stack([stream.array_T[w.start - before : w.stop] for w in group])
    inputs_BL = seen_BL[:, before:]
    targets_BT = np.stack([stream.array_T[w.first + 1 : w.stop + 1] for w in group])
    with fitting(
        f"scoring {len(group)} x {settings.eval_seq_len} tokens at once does not fit, lower "
        f"EVAL_BATCH_SEQS below {settings.eval_batch_seqs}"
    ):
        output = predict_windows(model, stream, inputs_BL, targets_BT.shape[1], settings)
    step = len(group) if together else 1
    for first in range(0, len(group), step):
        rows = slice(first, first + step)
        nats_BT = mixer.nats(_part(output, rows), seen_BL[rows], targets_BT[rows])
        yield from zip(group[rows], nats_BT.to(stream.device), strict=True)


@torch.inference_mode()
def predict_windows(
    model: GPT, stream: Stream, inputs_BL: Ints, charged: int, settings: Settings
) -> Output:
    """Return what the model says at the last positions of each window, tempered."""
    length = inputs_BL.shape[1]
    # The base of the rotary positions follows the length, so a short window is filled up.
    padded_BL = np.pad(inputs_BL, ((0, 0), (0, settings.eval_seq_len - length)))
    asked = slice(length - charged, length)
    with mixed_precision(stream.device):
        output: Output = model(torch.from_numpy(padded_BL).to(stream.device), asked)
    if settings.eval_temperature == 1:
        return output
    return output._replace(logits=temper(output.logits, settings.eval_temperature))


def _part(output: Output, rows: slice) -> Output:
    gates = None if output.gates is None else output.gates[rows]
    return Output(output.logits[rows], output.hidden[rows], gates)


def evaluate_plain(model: GPT, stream: Stream, settings: Settings, log: RunLog) -> Score | None:
    """Score the stream with the model alone, in the stage that the record has before its score."""
    if settings.eval_before == "none":
        return None
    started = time.perf_counter()
    if settings.eval_before == "roundtrip":
        score = validate(model, stream, settings)
        log_stage("final_int6_roundtrip", score, started, log)
        return score
    windows = sliding_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    model.eval()
    score = score_windows(model, stream, windows, NeuralOnly(), without_mixer(settings))
    log_stage("final_int6_sliding_window", score, started, log, settings.eval_stride)
    return score


def without_mixer(settings: Settings) -> Settings:
    """Return the settings of a pass in which nothing is mixed: rows as they are, no cache."""
    return replace(settings, eval_temperature=1.0, cache_update="chunk_inputs")


def score_stage(settings: Settings) -> str:
    """Return the label under which the record prints its score."""
    roundtrip = settings.eval_before == "roundtrip"
    return "final_int6_sliding_window" if roundtrip else "final_int6_ttt"


def log_stage(
    stage: str, score: Score, started: float, log: RunLog, stride: int | None = None
) -> None:
    """Write the two lines of a stage."""
    loss, bpb = score.nats_per_token, score.bits_per_byte
    shown_stride = "" if stride is None else f" stride:{stride}"
    log(
        f"{stage} val_loss:{loss:.4f} val_bpb:{bpb:.4f}{shown_stride} "
        f"eval_time:{1000 * (time.perf_counter() - started):.0f}ms"
    )
    log(f"{stage}_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


@torch.inference_mode()
def validate(model: GPT, stream: Stream, settings: Settings) -> Score:
    """Score whole sequences side by side, without overlap, each process its share of them."""
    score = Score()
    length = settings.train_seq_len
    model.eval()
    mine = rank_share(stream.positions // length)
    for first in range(mine.start, mine.stop, settings.eval_batch_seqs):
        span = slice(first * length, min(first + settings.eval_batch_seqs, mine.stop) * length)
        previous_T, targets_T = stream.tokens_T[span], stream.tokens_T[1:][span]
        with mixed_precision(stream.device):
            mean = cross_entropy(model, previous_T.view(-1, length), targets_T.view(-1, length))
        text_bytes = stream.table.count(targets_T, previous_T).sum()
        score += Score(float(mean.double() * len(targets_T)), len(targets_T), float(text_bytes))
    model.train()
    return score.over_ranks(stream.device)
