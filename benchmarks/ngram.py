"""The n-gram engine beside NumPy: score a chunk, then count it, ten million tokens long."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.published import NumpyMixer
from benchmarks.timing import Seconds, in_turns
from reference_impl.config import Settings
from reference_impl.engine.exact import QuickExactCache
from reference_impl.engine.hashed import QuickHashedTables
from reference_impl.engine.tensors import TensorTables

VOCAB_SIZE, BUCKETS = 1024, 2**22
CHUNK = 2**20
LEAD = 16  # tokens before the first charged one; no context is longer

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def text(tokens: int, vocab_size: int = VOCAB_SIZE) -> Ints:
    """Draw tokens of which few are frequent, and of which a quarter repeats earlier stretches."""
    rng = np.random.default_rng(0)
    stream_T = (vocab_size * rng.random(tokens) ** 3).astype(np.int64)
    starts = rng.integers(1000, max(tokens - 200, 1001), tokens // 400)
    for start, length, back in zip(
        starts, rng.integers(20, 180, len(starts)), rng.random(len(starts)), strict=True
    ):
        source = int(back * (start - length)) if start > length else 0
        stretch_T = stream_T[source : source + length][: tokens - start]
        stream_T[start : start + len(stretch_T)] = stretch_T
    return stream_T


def settings_of(vocab_size: int = VOCAB_SIZE, buckets: int = BUCKETS, order: int = 7) -> Settings:
    """Return #779's mixer in some size."""
    return replace(Settings(), vocab_size=vocab_size, ngram_buckets=buckets, ngram_max_order=order)


def numpy_pass(stream_T: Ints) -> Callable[[slice], Floats]:
    """Return what scores and counts a chunk by the baseline."""
    mixer = NumpyMixer(BUCKETS, VOCAB_SIZE)

    def work(chunk: slice) -> Floats:
        ratio_T = mixer.score(stream_T, chunk.start, chunk.stop)
        mixer.update(stream_T, chunk.start, chunk.stop)
        return ratio_T

    return work


def hashed_pass(stream_T: Ints, settings: Settings) -> Callable[[slice], Floats]:
    """Return what scores and counts a chunk by the engine's hashed tables."""
    tables = QuickHashedTables(settings)

    def work(chunk: slice) -> Floats:
        tokens_T = stream_T[chunk.start - LEAD : chunk.stop]
        ratio_BT, _ = tables.backed_off(tokens_T[None, :-1], tokens_T[None, LEAD:])
        tables.update(tokens_T, LEAD)
        return cast(Floats, ratio_BT[0].numpy())

    return work


def tensor_pass(stream_T: Ints, settings: Settings) -> Callable[[slice], Floats]:
    """Return what scores and counts a chunk by tables that are tensors."""
    tables, tokens_T = TensorTables(settings, torch.device("cpu")), torch.from_numpy(stream_T)

    def work(chunk: slice) -> Floats:
        part_T = tokens_T[chunk.start - LEAD : chunk.stop]
        ratio_BT, _ = tables.backed_off(part_T[None, :-1], part_T[None, LEAD:])
        tables.update(part_T, LEAD)
        return cast(Floats, ratio_BT[0].numpy())

    return work


def exact_pass(
    stream_T: Ints, settings: Settings, cache: QuickExactCache
) -> Callable[[slice], Floats]:
    """Return what scores and counts a chunk by the engine's exact cache."""
    cache.update(stream_T[:LEAD])

    def work(chunk: slice) -> Floats:
        tokens_T = stream_T[chunk.start - LEAD : chunk.stop]
        probs_BT = cache.probabilities(tokens_T[None, :-1], tokens_T[None, LEAD:])
        cache.update(tokens_T[LEAD:])
        return cast(Floats, probs_BT[0])

    return work


def chunks_of(tokens: int) -> list[slice]:
    """Return the chunks of a stream after its lead."""
    return [slice(first, min(first + CHUNK, tokens)) for first in range(LEAD, tokens, CHUNK)]


def warm_up() -> None:
    """Compile what is measured."""
    short_T = text(40_000)
    for work in (
        hashed_pass(short_T, settings_of()),
        exact_pass(short_T, settings_of(), QuickExactCache(VOCAB_SIZE, 7)),
        tensor_pass(short_T, settings_of()),
    ):
        work(slice(LEAD, 40_000))


def same_ratios(answers: list[object]) -> None:
    """Hashed answers must be the same to the last bit; the exact cache answers something else."""
    ratios = [cast(Floats, one) for one in answers[:3]]
    for other in ratios[1:]:
        np.testing.assert_array_equal(ratios[0], other)


def compare(tokens: int) -> tuple[dict[str, Seconds], QuickExactCache]:
    """Return what each took for the whole stream, and the exact cache."""
    warm_up()
    stream_T, chunks, settings = text(tokens), chunks_of(tokens), settings_of()
    cache = QuickExactCache(VOCAB_SIZE, 7, tokens)
    passes = {
        "NumPy": numpy_pass(stream_T),
        "hashed": hashed_pass(stream_T, settings),
        "hashed, as tensors": tensor_pass(stream_T, settings),
        "exact": exact_pass(stream_T, settings, cache),
    }
    works = {name: lambda piece, work=work: work(chunks[piece]) for name, work in passes.items()}
    return in_turns(works, len(chunks), same_ratios), cache


def section(tokens: int) -> str:
    """Return the part of the page."""
    took, cache = compare(tokens)
    base = took["NumPy"]
    rows = [
        f"| {name} | {1e9 * each.processor / tokens:,.0f} | {1e9 * each.wall / tokens:,.0f} "
        f"| {base.processor / each.processor:.1f} | {base.wall / each.wall:.1f} |"
        for name, each in took.items()
    ]
    share = took["hashed"].processor / took["exact"].processor
    bytes_each = cache.table_bytes / tokens / 6
    return f"""## N-gram engine

{tokens:,} drawn tokens, vocabulary {VOCAB_SIZE:,}, orders 2 to 7, {BUCKETS:,} buckets, chunks of
{CHUNK:,}. Each chunk is scored, then counted, by each contestant in turn. The ratios of the three
hashed ones are the same to the last bit, which is asserted for every chunk. NumPy uses one core;
the engine's tables are shared among the cores.

| | processor ns a token | wall ns a token | times NumPy, processor | times NumPy, wall |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

The exact cache works at {share:.2f} of the hashed tables' rate (processor time) and takes
{bytes_each:.1f} bytes a token an order. The hashed tables take {8 * BUCKETS:,} bytes an order,
whatever the text.
"""
