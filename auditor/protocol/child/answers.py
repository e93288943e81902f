"""Answer an auditor that reveals one token after the other and keeps the rest to itself."""

import base64
import hashlib
import json
from typing import Any, BinaryIO, TextIO

import numpy as np

from .distributions import checked


def answer_all(system: Any, requests: TextIO, answers: BinaryIO) -> None:
    """Answer each line until the requests end.

    To `predict` the digest of the distribution goes out before the distribution itself.
    """
    for line in requests:
        request = json.loads(line)
        tokens_T = np.array(request["tokens"], dtype=np.int64)
        start = int(request["start"])
        if request["do"] == "update":
            system.update(tokens_T, start)
            continue
        position = start + len(tokens_T) - 1
        row = checked(system.predict(tokens_T, start, 1), position, 1, system.vocab_size)[0]
        raw = row.astype("<f8").tobytes()
        for message in (
            {"kind": "commitment", "sha256": hashlib.sha256(raw).hexdigest()},
            {"kind": "distribution", "probs": base64.b64encode(raw).decode()},
        ):
            answers.write(json.dumps(message).encode() + b"\n")
            answers.flush()
