"""A record behind the auditor's protocol: it predicts windows, and learns what was charged.

The order of work is the auditor's, so every system learns a token after its charge, also one whose
record did not. Shapes: L input tokens, T revealed tokens, V vocabulary.
"""

from pathlib import Path

import numpy as np

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
from reference_impl.windows import chunks_of, sliding_windows


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
        self._windows = {window.stop: window for window in windows}
        self._chunks = chunks_of(windows, settings.ttt_chunk_tokens)
        self._finished_chunks = 0
        self._adapter = Adapter(model, settings, len(self._chunks))
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
        window = self._windows.get(start + len(tokens_T) - 1)
        if window is None:
            return  # token 0, which is given
        if self._settings.cache_update == "window":
            count_windows(self._known, [window], self._mixer, self._settings)
        index = self._finished_chunks
        chunk = self._chunks[index]
        if window.stop == chunk[-1].stop:
            self._finished_chunks += 1
            count_chunk(self._mixer, self._known, chunk, self._settings)
            if self._finished_chunks < len(self._chunks) or self._settings.ttt_last_chunk:
                first_to_stop = slice(chunk[0].first, window.stop + 1)
                self._adapter.learn(index, self._known.tokens_T[first_to_stop], self._known.table)
