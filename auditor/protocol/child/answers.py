"""Answer an auditor that reveals one token after the other and keeps the rest to itself."""

import base64
import hashlib
import json
from typing import Any, BinaryIO, TextIO

import numpy as np

from .coding import StretchDecoder
from .distributions import checked, shaped
from .schedule import Window


def answer_all(system: Any, requests: TextIO, answers: BinaryIO) -> None:
    """Answer each line until the requests end.

    To `predict` the digest of one row's distribution goes out before the distribution itself. The
    other rows, which a whole window has too, are of what stands there in place of the future.
    To `show` nothing goes out: the fast pass asks the same.
    To `decode` the tokens of a window go out, which only the words that came with the first window
    of a stretch can tell.
    """
    decoder: StretchDecoder | None = None
    for line in requests:
        request = json.loads(line)
        tokens_T = np.array(request["tokens"], dtype=np.int64)
        start = int(request["start"])
        if request["do"] == "update":
            system.update(tokens_T, start)
            continue
        if request["do"] == "show":
            system.predict(tokens_T, start, int(request["last"]))
            continue
        if request["do"] == "decode":
            if request["words"] is not None:
                words = np.frombuffer(base64.b64decode(request["words"]), dtype="<u4")
                decoder = StretchDecoder(words.astype(np.uint32))
            assert decoder is not None
            window = Window(start, int(request["first"]), int(request["stop"]))
            _send(answers, kind="decoded", tokens=decoder.decode(system, tokens_T, window))
            continue
        position, last = int(request["position"]), int(request["last"])
        first = start + len(tokens_T) - last
        answer = shaped(system.predict(tokens_T, start, last), first, last, int(system.vocab_size))
        rows_TV = answer[position - first : position - first + 1, :]
        raw = checked(rows_TV, position, 1, int(system.vocab_size)).astype("<f8").tobytes()
        _send(answers, kind="commitment", sha256=hashlib.sha256(raw).hexdigest())
        _send(answers, kind="distribution", probs=base64.b64encode(raw).decode())


def _send(answers: BinaryIO, **message: Any) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()
