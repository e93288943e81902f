"""The order of work that a score needs: charge a chunk, and only then learn from it."""

import time

from reference_impl.adapt import Adapter
from reference_impl.config import Settings
from reference_impl.evaluate import (
    Mixer,
    Score,
    Scores,
    Stream,
    evaluate_plain,
    log_stage,
    score_stage,
    score_windows,
)
from reference_impl.model.gpt import GPT
from reference_impl.runlog import RunLog
from reference_impl.windows import Window, chunks_of, sliding_windows

FIRST_CHUNKS_LOGGED, CHUNK_LOG_EVERY = 5, 10


def evaluate_score_first(
    model: GPT, stream: Stream, mixer: Mixer, settings: Settings, log: RunLog
) -> Scores:
    """Score with the model alone where the record does, then with mixer and adaptation."""
    plain = evaluate_plain(model, stream, settings, log)
    return Scores(plain, evaluate_adaptive(model, stream, mixer, settings, log))


def evaluate_adaptive(
    model: GPT, stream: Stream, mixer: Mixer, settings: Settings, log: RunLog
) -> Score:
    """Score each chunk with model and mixer, and only then let both learn from it."""
    started = time.perf_counter()
    windows = sliding_windows(stream.positions, settings.eval_seq_len, settings.eval_stride)
    chunks = chunks_of(windows, settings.ttt_chunk_tokens)
    adapter = Adapter(model, settings, len(chunks))
    _log_plan(settings, adapter, len(chunks), len(windows), log)
    model.eval()
    score = Score()
    for index, chunk in enumerate(chunks):
        score += score_windows(model, stream, chunk, mixer, settings)
        count_chunk(mixer, stream, chunk, settings)
        first, stop = chunk[0].first, chunk[-1].stop
        if index < len(chunks) - 1 or settings.ttt_last_chunk:
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
    log_stage(score_stage(settings), score, started, log, settings.eval_stride)
    return score


def count_chunk(mixer: Mixer, stream: Stream, chunk: list[Window], settings: Settings) -> None:
    """Let the mixer count a chunk, unless it has already done so window by window."""
    first, stop = chunk[0].first, chunk[-1].stop
    if settings.cache_update == "chunk_inputs":
        # The token at `stop` is charged too; as in the record, the next chunk counts it.
        mixer.update(stream.array_T[first:stop])
    elif settings.cache_update == "chunk_targets":
        # The chunk before has counted the first of these as its last target.
        mixer.update(stream.array_T[first : stop + 1], lead=1 if first else 0)


def _log_plan(settings: Settings, adapter: Adapter, chunks: int, windows: int, log: RunLog) -> None:
    log(
        f"TTT: epochs={settings.ttt_epochs} lr={settings.ttt_lr} "
        f"freeze_first={settings.ttt_blocks} chunk={settings.ttt_chunk_tokens} "
        f"opt={settings.ttt_optimizer}"
    )
    log(f"TTT temperature: {settings.eval_temperature}")
    log(
        f"ttt:start chunks={chunks} chunk_tokens={settings.ttt_chunk_tokens} "
        f"windows={windows} stride={settings.eval_stride} lr={settings.ttt_lr} "
        f"epochs={settings.ttt_epochs} opt={settings.ttt_optimizer} "
        f"freeze_first={settings.ttt_blocks}"
    )
    log(f"ttt:params unfrozen={adapter.unfrozen} frozen={adapter.frozen}")
