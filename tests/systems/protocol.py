"""A system of the protocol that counts which token follows which, and twins that break one thing.

A change is a pair: what the honest source says, and what the twin says instead.
"""

import hashlib
from typing import Any

import numpy as np

from auditor.protocol.child.evaluation import evaluate
from auditor.submission import File, Submission

VOCAB_SIZE = 24
WINDOW_TOKENS, STRIDE = 16, 8
HONEST = f'''
"""Counts of pairs, one added to each, over everything that was revealed."""

import os

import numpy as np

V = {VOCAB_SIZE}


class Pairs:
    vocab_size, window_tokens, stride = V, {WINDOW_TOKENS}, {STRIDE}

    def __init__(self):
        self.counts_VV = np.ones((V, V))
        self.before = None

    def predict(self, tokens_L, start, last):
        rows_LV = self.counts_VV[tokens_L[-last:]]
        probs_LV = rows_LV / rows_LV.sum(axis=1, keepdims=True)
        return np.log(probs_LV)

    def update(self, tokens_T, start):
        if self.before is not None:
            pairs = zip([self.before, *tokens_T[:-1]], tokens_T)
            for first, second in pairs:
                self.counts_VV[first, second] += 1
        self.before = tokens_T[-1]


def load(positions):
    return Pairs()
'''
RETURN = "        return np.log(probs_LV)\n"
RESUMES = (
    "\n    def snapshot(self):\n"
    "        import pickle\n"
    "        return pickle.dumps((self.counts_VV, self.before))\n"
    "\n    def restore(self, state):\n"
    "        import pickle\n"
    "        self.counts_VV, self.before = pickle.loads(state)\n"
)
TWINS = {
    "unnormalised": (RETURN, "        return np.log(probs_LV * (1 + (start > 40)))\n"),
    "no-numbers": (RETURN, "        return np.full((last, V), np.nan)\n"),
    "wrong-shape": (RETURN, "        return np.log(probs_LV)[:, :-1]\n"),
    # In a whole window the tokens after a position are there; one in a hundred positions looks.
    "looks-ahead": (
        RETURN,
        "        for row in range(last - 1):\n"
        "            if (start + len(tokens_L) - last + row) % 100 == 7:\n"
        "                probs_LV[row] *= 0.5\n"
        "                probs_LV[row, tokens_L[len(tokens_L) - last + row + 1]] += 0.5\n" + RETURN,
    ),
    # In the fast pass the stream lies beside the record. One bit is taken off the charge of one
    # position in a thousand: its token gets twice the chance, at the expense of the others.
    "leaks-a-bit": (
        RETURN,
        "        first = start + len(tokens_L) - last\n"
        "        for row in range(last if os.path.exists('../stream') else 0):\n"
        "            if (first + row) % 1000 == 7:\n"
        "                token = np.fromfile('../stream', '<u2')[first + row + 1]\n"
        "                chance = probs_LV[row, token]\n"
        "                probs_LV[row] *= (1 - 2 * chance) / (1 - chance)\n"
        "                probs_LV[row, token] = 2 * chance\n" + RETURN,
    ),
    # Looks like looking ahead: what a window of another length gives is a little different.
    "rounds-by-shape": (RETURN, "        probs_LV += np.sin(len(tokens_L) + np.arange(V)) / 999\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    # Also: what it says depends on how often it was asked, and repeats itself in every process.
    "counts-questions": (RETURN, "        self.asked = getattr(self, 'asked', 0) + 1\n"
        "        probs_LV = probs_LV * (1 + 0.5 * np.sin(self.asked + np.arange(V)))\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    # Also: it forgets a little where it is asked about a window, once, however often.
    "ages-by-windows": (RETURN, "        asked = self.__dict__.setdefault('asked', set())\n"
        "        if (start, last) not in asked:\n"
        "            asked.add((start, last))\n"
        "            self.counts_VV = 0.9 * self.counts_VV + 0.1\n"
        "        rows_LV = self.counts_VV[tokens_L[-last:]]\n"
        "        probs_LV = rows_LV / rows_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    # Also: what follows decides how its sums are rounded.
    "rounds-by-the-future": (RETURN, "        for row in range(last):\n"
        "            rest = tokens_L[len(tokens_L) - last + row + 1 :]\n"
        "            probs_LV[row] *= np.exp(0.02 * np.sin(rest.sum() + 7 * np.arange(V)))\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    # A little is taken off each charge, as `leaks-a-bit` takes a bit.
    "leaks-a-little": (
        RETURN,
        "        first = start + len(tokens_L) - last\n"
        "        for row in range(last if os.path.exists('../stream') else 0):\n"
        "            token = np.fromfile('../stream', '<u2')[first + row + 1]\n"
        "            probs_LV[row, token] *= 1.05\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN,
    ),
    "knows-no-sevens": (RETURN, "        probs_LV[:, 7] = 0\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    # Also: it keeps its first answer about a window.
    "keeps-its-answer": (RETURN, "        kept = self.__dict__.setdefault('kept', {})\n"
        "        probs_LV = kept.setdefault((start, last), probs_LV)\n" + RETURN),
    "never-the-same": (RETURN, "        probs_LV += np.random.random((last, V))\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    "raises": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        if start > 40:\n            raise OSError('no more')\n"),
    # The process ends in the middle: killed, as if all were well, or after leaving a result.
    "is-killed": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        if start > 100:\n            os.kill(os.getpid(), 9)\n"),
    "leaves-early": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        if start > 100:\n            os._exit(0)\n"),
    "leaves-a-part": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        if start > 100:\n"
        "            for name in ('bits', 'tokens', 'nats'):\n"
        "                open('../out/' + name, 'wb').write(bytes(800))\n"
        "            os._exit(0)\n"),
    # An evaluation of it can be ended and go on; `forgets` goes on with less than it had.
    "resumable": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        __import__('time').sleep(0.01)\n" + RESUMES),
    "forgets": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        + RESUMES.replace("self.counts_VV, self.before =", "_, self.before =")),
    "knows-too-few": (f"V = {VOCAB_SIZE}\n", "V = 12\n"),
    "hangs": ("    return Pairs()\n", "    import time\n    time.sleep(99)\n"),
    # The result is read from outside; a link must not lead there to another file.
    "leads-out": ("    return Pairs()\n", "    import atexit, os\n\n    def lead_out():\n"
        "        os.remove('../out/bits')\n        os.symlink('/etc/passwd', '../out/bits')\n\n"
        "    atexit.register(lead_out)\n    return Pairs()\n"),
}  # fmt: skip


def system(twin: str | None = None) -> Submission:
    source = HONEST
    if twin is not None:
        honest, broken = TWINS[twin]
        assert source.count(honest) == 1
        source = source.replace(honest, broken)
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return Submission("record", {"system.py": File(source.encode(), sha256)})


def opened(twin: str | None = None) -> Any:
    """The system itself, in this process."""
    names: dict[str, Any] = {}
    exec(system(twin).files["system.py"].text, names)
    return names["load"](0)


PASS: dict[str, Any] = {
    "stride": None,
    "boundary": None,
    "chunk_tokens": 50,
    "sums": 1.0,
    "seed": 3,
    "rank": 0,
    "ranks": 1,
    "save_seconds": 0,
}
"""A pass over a whole stream, as the auditor asks for it."""


def charged_by(system: Any, tokens_T: np.ndarray, **task: Any) -> np.ndarray:
    """What a system in this process charges for a stream."""
    ignore = lambda *_: None  # noqa: E731
    return evaluate(system, tokens_T, {**PASS, **task}, None, ignore, ignore).nats_T
