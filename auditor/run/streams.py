"""Sources whose code length is known, because we draw from them ourselves; and text.

| source | a token costs | provokes |
|---|---|---|
| `uniform` | ln V | keys with the target in them, adapting before scoring, second passes |
| `markov` | ln 16: one of 16 followers of each token | what needs contexts that repeat |
| `spelled` | ln 379, as its bytes do: a word mark and two letters each | mixers on bytes |
| `repeat` | a mixture of a copy of an earlier stretch and noise | long matches, phrases |
| `sampled` | what an n-gram sampler that was fitted to text gave it | words, documents |
| `text` | unknown: it is text, for experiments that need no bound | trained models |
"""

import functools
import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.run import vocabulary
from auditor.run.vocabulary import BOS, CONTROL_PIECES, VOCAB_SIZE, Vocabulary

Tokens = NDArray[np.uint16]

SUCCESSORS = 16
"""Tokens that may follow each token of `markov`."""
STRETCH = 64
"""Tokens of one stretch of `repeat`."""
TEXT_TOKENS = 16_001
"""Validation tokens of text: longer than the 10,000 after which mixers switch on."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens together with what they cost under the source that drew them."""

    source: str
    tokens: Tokens
    nats_N: NDArray[np.float64]
    """Code length of each token under the source; NaN where the source is unknown."""
    vocabulary: Vocabulary

    @property
    def nats_per_token(self) -> float:
        """Mean code length."""
        return float(self.nats_N.mean())


def uniform(vocab_size: int, length: int, seed: str) -> Stream:
    """Each of the first `vocab_size` tokens is equally likely at every position."""
    drawn = _generator(seed).integers(0, vocab_size, size=length, dtype=np.uint16)
    nats_N = np.full(length, math.log(vocab_size))
    return Stream("uniform", drawn, nats_N, vocabulary.of_noise())


def spelled(length: int, seed: str) -> Stream:
    """A BOS, then pieces of which each begins with a word mark and holds no other.

    Every string of bytes has one parse, so that its bytes cost what its tokens do.
    """
    first = len(CONTROL_PIECES) + 1
    tokens = _generator(seed).integers(first, VOCAB_SIZE, size=length, dtype=np.uint16)
    tokens[0] = BOS
    nats_N = np.full(length, math.log(VOCAB_SIZE - first))
    nats_N[0] = 0.0
    return Stream("spelled", tokens, nats_N, vocabulary.of_noise())


def markov(length: int, seed: str) -> Stream:
    """After each token one of a few, equally likely; the table follows from no seed.

    The first token is drawn uniformly.
    """
    table = _generator("markov/table")
    followers = np.stack(
        [table.choice(VOCAB_SIZE, SUCCESSORS, replace=False) for _ in range(VOCAB_SIZE)]
    )
    drawn = _generator(seed)
    tokens = np.empty(length, dtype=np.uint16)
    tokens[0] = drawn.integers(VOCAB_SIZE)
    for index, which in enumerate(drawn.integers(SUCCESSORS, size=length - 1).tolist(), 1):
        tokens[index] = followers[tokens[index - 1], which]
    nats_N = np.full(length, math.log(SUCCESSORS))
    nats_N[0] = math.log(VOCAB_SIZE)
    return Stream("markov", tokens, nats_N, vocabulary.of_noise())


def repeat(length: int, seed: str) -> Stream:
    """Stretches of noise; half of them copy an earlier stretch, each with the same chance.

    A token costs what the mixture of both, and of all copies that fit so far, gave it.
    """
    drawn = _generator(seed)
    earlier: list[NDArray[np.uint16]] = []
    tokens, nats = [], []
    for _ in range(-(-length // STRETCH)):
        copies = bool(earlier) and drawn.random() < 0.5
        fresh = drawn.integers(0, VOCAB_SIZE, size=STRETCH, dtype=np.uint16)
        stretch = earlier[int(drawn.integers(len(earlier)))] if copies else fresh
        nats.append(_stretch_nats(stretch, earlier))
        tokens.append(stretch)
        earlier.append(stretch)
    return Stream(
        "repeat",
        np.concatenate(tokens)[:length],
        np.concatenate(nats)[:length],
        vocabulary.of_noise(),
    )


def _stretch_nats(
    stretch: NDArray[np.uint16], earlier: list[NDArray[np.uint16]]
) -> NDArray[np.float64]:
    """Cost of each token of a stretch, given those before it in the stretch."""
    powers = np.arange(STRETCH + 1)
    fresh = float(VOCAB_SIZE) ** -powers.astype(np.float64)
    if not earlier:
        return -np.log(fresh[1:] / fresh[:-1])
    agrees = np.cumprod(np.stack(earlier) == stretch, axis=1).mean(axis=0)
    joint = 0.5 * fresh + 0.5 * np.concatenate(([1.0], agrees))
    return -np.log(joint[1:] / joint[:-1])


@dataclass(frozen=True, slots=True)
class Text:
    """Real text in tokens: a validation stream and two training streams that share nothing."""

    validation: Stream
    train: Stream
    other_train: Stream


@functools.cache
def text() -> Text:
    """The documentation of Python's language that every installation carries."""
    words, ids = _documents()
    joined = np.concatenate([np.concatenate(([BOS], each)) for each in ids]).astype(np.uint16)
    rest = joined[TEXT_TOKENS:]
    half = len(rest) // 2

    def stream(tokens: Tokens) -> Stream:
        return Stream("text", tokens, np.full(len(tokens), np.nan), words)

    return Text(stream(joined[:TEXT_TOKENS]), stream(rest[:half]), stream(rest[half:]))


def sampled(length: int, seed: str) -> Stream:
    """Drawn from an interpolated trigram that was fitted to text; the first token is a BOS."""
    words, ids = _documents()
    joined = np.concatenate([np.concatenate(([BOS], each)) for each in ids]).astype(np.int64)
    single_V = np.bincount(joined, minlength=VOCAB_SIZE) / len(joined)
    follows = _followers(joined[:-1], joined[1:])
    follows_two = _followers(joined[:-2] * VOCAB_SIZE + joined[1:-1], joined[2:])
    drawn = _generator(seed)
    flat_V = np.full(VOCAB_SIZE, 1 / VOCAB_SIZE)
    tokens, nats_N = np.empty(length, dtype=np.int64), np.zeros(length)
    tokens[0] = BOS
    for index in range(1, length):
        one = int(tokens[index - 1])
        two = int(tokens[index - 2]) * VOCAB_SIZE + one if index > 1 else -1
        probs_V = 0.05 * flat_V + 0.15 * single_V
        seen = follows.get(one, joined)
        seen_two = follows_two.get(two, seen)
        probs_V += 0.4 * np.bincount(seen, minlength=VOCAB_SIZE) / len(seen)
        probs_V += 0.4 * np.bincount(seen_two, minlength=VOCAB_SIZE) / len(seen_two)
        probs_V /= probs_V.sum()
        tokens[index] = drawn.choice(VOCAB_SIZE, p=probs_V)
        nats_N[index] = -math.log(probs_V[tokens[index]])
    return Stream("sampled", tokens.astype(np.uint16), nats_N, words)


def _followers(
    contexts: NDArray[np.int64], nexts: NDArray[np.int64]
) -> dict[int, NDArray[np.int64]]:
    """What came after each context."""
    order = np.argsort(contexts, kind="stable")
    keys, starts = np.unique(contexts[order], return_index=True)
    return dict(zip(keys.tolist(), np.split(nexts[order], starts[1:]), strict=True))


@functools.cache
def _documents() -> tuple[Vocabulary, list[NDArray[np.uint16]]]:
    """The topics of `help()`, each a document, in an order that is no order."""
    from pydoc_data.topics import topics

    def drawn(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    documents = (" ".join(topics[name].split()) for name in sorted(topics, key=drawn))
    return vocabulary.of_text(tuple(each.encode("ascii", "ignore").decode() for each in documents))


def changed_from(stream: Stream, position: int, vocab_size: int, seed: str) -> Stream:
    """The same stream up to `position`; that token and all after it are drawn anew, uniformly.

    The token at `position` is certain to differ.
    """
    if not 0 < position < len(stream.tokens):
        raise ValueError(f"position must be in 1..{len(stream.tokens) - 1}, got {position}")
    tokens = stream.tokens.copy()
    fresh = uniform(vocab_size, len(tokens) - position, seed).tokens
    shift = _generator(f"{seed}/shift").integers(1, vocab_size)
    fresh[0] = (int(tokens[position]) + int(shift)) % vocab_size
    tokens[position:] = fresh
    return Stream(stream.source, tokens, stream.nats_N, stream.vocabulary)


def _generator(seed: str) -> np.random.Generator:
    """A generator whose stream follows from the words of the seed on every machine."""
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(seed.encode()).hexdigest(), 16)))
