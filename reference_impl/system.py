"""A record behind the auditor's protocol: it predicts windows, and learns what was charged.

The order of work is the auditor's, so every system learns a token after its charge, also one whose
record did not. Shapes: L input tokens, T revealed tokens, V vocabulary.
"""

import io
from pathlib import Path

import numpy as np
import torch

from reference_impl.adapt import Adapter
from reference_impl.config import Settings, from_environment
from reference_impl.device import pick_device
from reference_impl.evaluate import (
    Floats,
    Ints,
    Mixer,
    Stream,
    count_windows,
    predict_windows,
)
from reference_impl.model.gpt import GPT
from reference_impl.quantize.artifact import ARTIFACT_NAME
from reference_impl.record import System, load_model
from reference_impl.score_first import count_chunk
from reference_impl.tokenizer import byte_table, load_tokenizer
from reference_impl.windows import Window, chunks_of, sliding_windows


def open_system(defaults: Settings, system: System, folder: Path, positions: int) -> "RecordSystem":
    """Return the system of a record folder, as its model file has it."""
    settings = from_environment(defaults)
    device = pick_device()
    table = byte_table(load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size))
    model = load_model(folder / ARTIFACT_NAME, settings, device)
    known = Stream(np.zeros(positions + 1, dtype=np.int64), table, device)
    return RecordSystem(model, known, system.mixer_of(settings), settings)


class RecordSystem:
    """Implements `auditor.protocol.System`."""

    def __init__(self, model: GPT, known: Stream, mixer: Mixer, settings: Settings) -> None:
        """Start with a stream of which nothing is revealed."""
        self.vocab_size = settings.vocab_size
        self.window_tokens, self.stride = settings.eval_seq_len, settings.eval_stride
        self._model, self._known, self._mixer, self._settings = model, known, mixer, settings
        windows = sliding_windows(known.positions, self.window_tokens, self.stride)
        # The learning rate follows the number of chunks.
        chunks = len(chunks_of(windows, settings.ttt_chunk_tokens))
        self._adapter = Adapter(model, settings, chunks)
        self._revealed_tokens = 0
        self._finished_chunks = 0
        self._chunk: list[Window] = []
        model.eval()

    def predict(self, tokens_L: Ints, start: int, last: int) -> Floats:
        """Return the logarithms of what follows each of the last tokens; see the protocol."""
        output = predict_windows(self._model, self._known, tokens_L[None], last, self._settings)
        # Contexts may begin before the window, in what has been revealed.
        before_T = self._known.array_T[max(0, start - self._settings.ngram_max_order) : start]
        seen_BL = np.concatenate([before_T, tokens_L])[None]
        log_probs: Floats = self._mixer.log_probs(output, seen_BL)[0]
        return log_probs

    def update(self, tokens_T: Ints, start: int) -> None:
        """Count and learn where the record does; see the protocol."""
        self._known.reveal(tokens_T, start)
        self._revealed_tokens = start + len(tokens_T)
        if not start:
            return  # token 0, which is given
        window = Window(start - 1, start - 1, start - 1 + len(tokens_T))
        if self._settings.cache_update == "window":
            count_windows(self._known, [window], self._mixer, self._settings)
        self._chunk.append(window)
        is_last = window.stop == self._known.positions
        chunk_tokens = self._settings.ttt_chunk_tokens
        if is_last or self._chunk[0].first // chunk_tokens != window.stop // chunk_tokens:
            self._finish_chunk(is_last=is_last)

    def snapshot(self) -> bytes:
        """Return what was learnt, counted and revealed; see the protocol."""
        state = {
            "model": self._model.state_dict(),
            "adapter": self._adapter.state(),
            "mixer": self._mixer,
            "known_T": self._known.array_T[: self._revealed_tokens],
            "chunk": (self._finished_chunks, self._chunk),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot, which is as trusted as this code: both are this folder's own."""
        held = torch.load(io.BytesIO(state), map_location=self._known.device, weights_only=False)
        self._model.load_state_dict(held["model"])
        self._adapter.restore(held["adapter"])
        self._mixer = held["mixer"]
        self._known.reveal(held["known_T"], 0)
        self._revealed_tokens = len(held["known_T"])
        self._finished_chunks, self._chunk = held["chunk"]

    def _finish_chunk(self, *, is_last: bool) -> None:
        chunk, self._chunk = self._chunk, []
        count_chunk(self._mixer, self._known, chunk, self._settings)
        if not is_last or self._settings.ttt_last_chunk:
            tokens_T = self._known.tokens_T[chunk[0].first : chunk[-1].stop + 1]
            self._adapter.learn(self._finished_chunks, tokens_T, self._known.table)
        self._finished_chunks += 1
