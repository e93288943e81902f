"""The order of work as published in #940, whose score is not a score: learn all, then charge.

The record calls its first loop scoring, but keeps nothing of what the model says there. All chunks,
the last one too, are learnt from before any position is charged. The file is kept as the record was
scored, to show what an audit must find; its twin is `score_first`.
"""

import time

from reference_impl.adapt import Adapter
from reference_impl.config import Settings
from reference_impl.device import rank_share
from reference_impl.evaluate import (
    Mixer,
    Scores,
    Stream,
    charge_windows,
    evaluate_plain,
    log_stage,
    score_stage,
)
from reference_impl.model.gpt import GPT
from reference_impl.runlog import RunLog
from reference_impl.windows import Window

CHUNK_LOG_EVERY = 20


def evaluate_adapt_first(
    model: GPT, stream: Stream, mixer: Mixer, settings: Settings, log: RunLog
) -> Scores:
    """Learn from the whole stream, and charge it afterwards."""
    adapt_to_all(model, stream, settings, log)
    plain = evaluate_plain(model, stream, settings, log)
    started = time.perf_counter()
    windows = overrunning_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    model.eval()
    # Each process has a cache of its own, which never sees what the others charge.
    mine = windows[rank_share(len(windows))]
    score = charge_windows(model, stream, mine, mixer, settings).over_ranks(stream.device)
    log_stage(score_stage(settings), score, started, log, settings.eval_stride)
    return Scores(plain, score)


def adapt_to_all(model: GPT, stream: Stream, settings: Settings, log: RunLog) -> None:
    """Learn from each chunk in turn, before anything was charged."""
    started = time.perf_counter()
    # A rest that no window of its own would fit into belongs to no chunk.
    starts = range(0, stream.positions - settings.eval_seq_len, settings.ttt_chunk_tokens)
    adapter = Adapter(model, settings, len(starts))
    log(
        f"ttt:start score-first lr={settings.ttt_lr} epochs={settings.ttt_epochs} "
        f"freeze_blocks={settings.ttt_blocks} chunk_tokens={settings.ttt_chunk_tokens}"
    )
    model.eval()
    for index, first in enumerate(starts):
        stop = min(first + settings.ttt_chunk_tokens, stream.positions)
        adapter.learn(index, stream.tokens_T[first : stop + 1], stream.table)
        if index % CHUNK_LOG_EVERY == 0:
            log(f"ttt:chunk={index} elapsed={time.perf_counter() - started:.1f}s")
    log(f"ttt:done chunks={len(starts)} elapsed={time.perf_counter() - started:.1f}s")


def overrunning_windows(positions: int, length: int, stride: int) -> list[Window]:
    """Return windows that start until the stream ends; the last ones charge its end again."""
    windows = []
    for start in range(0, positions, stride):
        stop = min(start + length, positions)
        windows.append(Window(start, max(start, stop - stride) if start else 0, stop))
    return windows
