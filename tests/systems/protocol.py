"""A system of the protocol that counts which token follows which, and twins that break one thing.

A change is a pair: what the honest source says, and what the twin says instead.
"""

from auditor.submission import File, Submission

VOCAB_SIZE = 24
WINDOW_TOKENS, STRIDE = 16, 8
HONEST = f'''
"""Counts of pairs, one added to each, over everything that was revealed."""

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
    "never-the-same": (RETURN, "        probs_LV += np.random.random((last, V))\n"
        "        probs_LV /= probs_LV.sum(axis=1, keepdims=True)\n" + RETURN),
    "raises": ("        self.before = tokens_T[-1]\n", "        self.before = tokens_T[-1]\n"
        "        if start > 40:\n            raise OSError('no more')\n"),
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
    return Submission("record", {"system.py": File(source.encode(), "0" * 64)})
