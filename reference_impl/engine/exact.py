"""The exact cache as tables that are looked up in constant time, for the charges of targets.

`reference_impl.ngram.exact` keeps n-grams sorted, to read all that followed a context: it gives
rows of the vocabulary's width, and each update moves all that is kept. Here an n-gram is a slot of
16 bytes in a table of its length, found by the n-gram without its last token, which is known by the
place where it was first seen, and by that token. Both are in the slot: nothing collides. The slot
of a context holds how often it came and how many kinds of token followed, which is all that one
target's discounted share and the rest's need. Summed over the vocabulary they give one.

Shapes: B rows, L tokens in a row, T charged positions at its end, S slots, N orders from 2 up.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from reference_impl.engine.kernels import BLOCK, kernel, share
from reference_impl.ngram.exact import DISCOUNT, contexts_of

PIECE = 1 << 12
"""Tokens that go through all lengths together; what they are known by stays in the cache."""
SHARED_TOKENS = 1 << 13
MAX_LOAD = 0.5
GROWTH = 1.25
MIN_SLOTS = 64
MAX_TOKENS = 2**32 - 2  # a place is 32 bits
UNSEEN = 2**32 - 1  # the place of what was never seen

# The columns of a slot.
PREFIX, LAST_AND_KINDS, COUNT, PLACE = range(4)

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class QuickExactCache:
    """The charges that `ExactCache.distribution` gives, of targets alone."""

    def __init__(self, vocab_size: int, max_order: int, expected_tokens: int = 0) -> None:
        """Start empty, with room for so many tokens; more of them make the tables grow."""
        if vocab_size > 1 << 16:
            raise ValueError(f"a token must fit in 16 bits, got a vocabulary of {vocab_size}")
        self.vocab_size = vocab_size
        self.context_tokens = max_order - 1
        self.total = 0
        self._slots = [
            np.zeros((_slots_for(min(vocab_size**length, expected_tokens)), 4), dtype=np.uint32)
            for length in range(1, max_order + 1)
        ]
        self.used = [0] * max_order  # n-grams of each length
        self._newest = np.full(max_order, UNSEEN, dtype=np.uint32)  # place of each length's newest
        self._newest_slot = np.zeros(max_order, dtype=np.uint32)

    @property
    def table_bytes(self) -> int:
        """Return the memory of all tables."""
        return sum(slots.nbytes for slots in self._slots)

    def update(self, tokens_T: Ints) -> None:
        """Count each n-gram that ends in these tokens; it may begin in the ones given before."""
        if self.total + len(tokens_T) > MAX_TOKENS:
            raise ValueError(f"at most {MAX_TOKENS} tokens, got {self.total} and {len(tokens_T)}")
        words_T = tokens_T.astype(np.uint32)
        for first in range(0, len(words_T), PIECE):
            self._count(words_T[first : first + PIECE])

    def _count(self, words_T: Words) -> None:
        T = len(words_T)
        before_T, slot_before_T = np.zeros(T, np.uint32), np.zeros(T, np.uint32)
        contexts = np.zeros((1, 4), dtype=np.uint32)  # the empty context's, which nobody reads
        for depth in range(len(self._slots)):
            slots = self._room(depth, self.used[depth] + T)
            place_T, slot_T = np.empty(T, np.uint32), np.empty(T, np.uint32)
            self.used[depth] += _insert(
                slots, contexts, before_T, slot_before_T, words_T, self.total, place_T, slot_T
            )
            # The longer n-gram at a position is the one at the position before, and one token.
            before_T = np.concatenate([self._newest[depth : depth + 1], place_T[:-1]])
            slot_before_T = np.concatenate([self._newest_slot[depth : depth + 1], slot_T[:-1]])
            self._newest[depth], self._newest_slot[depth] = place_T[-1], slot_T[-1]
            contexts = slots
        self.total += T

    def _room(self, depth: int, wanted: int) -> Words:
        """Return a table in which that many n-grams fit."""
        slots = self._slots[depth]
        if wanted > MAX_LOAD * len(slots):
            larger = max(_slots_for(wanted), int(GROWTH * len(slots)))
            self._slots[depth] = np.zeros((larger, 4), dtype=np.uint32)
            self._newest_slot[depth] = _move(slots, self._slots[depth], self._newest[depth])
        return self._slots[depth]

    def probabilities(self, inputs_BL: Ints, targets_BT: Ints) -> Floats:
        """Return the probability of each target after the inputs up to its position."""
        probs_BTN = np.empty((*targets_BT.shape, 1))
        nothing_BTN = np.empty((*targets_BT.shape, 0), np.uint32)  # of no order alone
        self._ask(inputs_BL, targets_BT, probs_BTN, nothing_BTN)
        probs_BT: Floats = probs_BTN[..., 0]
        return probs_BT

    def orders(self, inputs_BL: Ints, targets_BT: Ints) -> tuple[Floats, Words]:
        """Return what each order says of the targets, and how often its context was followed."""
        shape = (*targets_BT.shape, self.context_tokens)
        probs_BTN, seen_BTN = np.empty(shape), np.empty(shape, np.uint32)
        self._ask(inputs_BL, targets_BT, probs_BTN, seen_BTN)
        return probs_BTN, seen_BTN

    def _ask(self, inputs_BL: Ints, targets_BT: Ints, probs_BTN: Floats, seen_BTN: Words) -> None:
        B, T = targets_BT.shape
        if np.array_equal(inputs_BL[:, inputs_BL.shape[1] - T + 1 :], targets_BT[:, :-1]):
            # The targets follow each other: one chain of look-ups serves contexts and targets.
            length = min(inputs_BL.shape[1], T + self.context_tokens - 1)
            rows_BL = np.concatenate(
                [inputs_BL[:, inputs_BL.shape[1] - length :], targets_BT[:, -1:]], axis=1
            )
        else:
            # What stands before a row is no token, and so was never seen.
            contexts_BTC = contexts_of(inputs_BL, T, self.context_tokens)
            rows_BL = np.concatenate([contexts_BTC, targets_BT[..., None]], axis=2)
            rows_BL = rows_BL.reshape(B * T, -1)
            probs_BTN = probs_BTN.reshape(B * T, 1, probs_BTN.shape[2])
            seen_BTN = seen_BTN.reshape(B * T, 1, seen_BTN.shape[2])
        self._chains(rows_BL.astype(np.uint32), probs_BTN, seen_BTN)

    def _chains(self, rows_BL: Words, probs_BTN: Floats, seen_BTN: Words) -> None:
        """Follow each row, whose last T tokens are its targets, piece by piece."""
        (B, L), T = rows_BL.shape, probs_BTN.shape[1]
        step_T = min(T, PIECE)
        step_B = max(1, PIECE // L)
        parts = [
            (
                rows_BL[
                    b : b + step_B, max(L - T + t - self.context_tokens, 0) : L - T + t + step_T
                ],
                probs_BTN[b : b + step_B, t : t + step_T],
                seen_BTN[b : b + step_B, t : t + step_T],
            )
            for b in range(0, B, step_B)
            for t in range(0, T, step_T)
        ]
        share(self._chain, parts, together=B * T >= SHARED_TOKENS)

    def _chain(self, rows_BL: Words, probs_BTN: Floats, seen_BTN: Words) -> None:
        T, each = probs_BTN.shape[1], seen_BTN.shape[2] > 0
        charged = rows_BL.shape[1] - T
        rows_BL = np.ascontiguousarray(rows_BL)  # of one type: each is compiled
        before_BL = np.zeros(rows_BL.shape, np.uint32)
        seen_BL = np.full(rows_BL.shape, self.total, np.uint32)
        kinds_BL = np.full(rows_BL.shape, self.used[0], np.uint32)
        prob_BT = np.full(probs_BTN.shape[:2], 1.0 / self.vocab_size)
        for depth, slots in enumerate(self._slots):
            if depth and each:
                seen_BTN[..., depth - 1] = seen_BL[:, charged:]
            newest = self._newest[depth]
            _follow(slots, newest, rows_BL, before_BL, seen_BL, kinds_BL, DISCOUNT, prob_BT)
            if depth and each:
                probs_BTN[..., depth - 1] = prob_BT
        if not each:
            probs_BTN[..., 0] = prob_BT


def _slots_for(ngrams: int) -> int:
    return max(int(ngrams / MAX_LOAD) + 1, MIN_SLOTS)


@kernel
def _first_slot(prefix: int, token: int, slots: int) -> Any:
    """Return where the search for an n-gram begins; a larger table keeps the order of slots."""
    key = (np.uint64(prefix) << np.uint64(16)) | np.uint64(token)
    key *= np.uint64(0x9E3779B97F4A7C15)
    key ^= key >> np.uint64(29)
    key *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(((key >> np.uint64(32)) * np.uint64(slots)) >> np.uint64(32))


@kernel
def _insert(
    slots_S: Words,
    contexts_S: Words,
    before_T: Words,
    slot_before_T: Words,
    tokens_T: Words,
    total: int,
    place_T: Words,
    slot_T: Words,
) -> int:
    """Count one n-gram a position, write where it was first seen, and return how many are new."""
    S, new = len(slots_S), 0
    first, touched = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.uint32)
    for start in range(0, len(tokens_T), BLOCK):
        tokens, before = tokens_T[start : start + BLOCK], before_T[start : start + BLOCK]
        n = len(tokens)
        for j in range(n):
            first[j] = _first_slot(before[j], tokens[j], S)
        for j in range(n):
            touched[j] = slots_S[first[j], COUNT]  # so that many loads are under way at once
        for j in range(n):
            touched[j] += contexts_S[slot_before_T[start + j], COUNT]
        for j in range(n):
            at, prefix, token = first[j], before[j], tokens[j]
            if prefix == UNSEEN:  # the text had no such token yet
                place_T[start + j], slot_T[start + j] = UNSEEN, 0
                continue
            while slots_S[at, COUNT]:
                if slots_S[at, PREFIX] == prefix and slots_S[at, LAST_AND_KINDS] >> 16 == token:
                    break
                at = at + 1 if at + 1 < S else 0
            if not slots_S[at, COUNT]:
                new += 1
                slots_S[at, PREFIX], slots_S[at, LAST_AND_KINDS] = prefix, token << 16
                slots_S[at, PLACE] = total + start + j
                of = slot_before_T[start + j]
                both = contexts_S[of, LAST_AND_KINDS]
                contexts_S[of, LAST_AND_KINDS] = (both & 0xFFFF0000) | ((both + 1) & 0xFFFF)
            slots_S[at, COUNT] += np.uint32(1)
            place_T[start + j], slot_T[start + j] = slots_S[at, PLACE], at
    return new


@kernel
def _move(old_S: Words, new_S: Words, newest: int) -> int:
    """Fill a larger table, both read in order, and return the slot of the newest n-gram."""
    S, slot = len(new_S), 0
    for i in range(len(old_S)):
        if old_S[i, COUNT]:
            at = _first_slot(old_S[i, PREFIX], old_S[i, LAST_AND_KINDS] >> 16, S)
            while new_S[at, COUNT]:
                at = at + 1 if at + 1 < S else 0
            new_S[at] = old_S[i]
            if old_S[i, PLACE] == newest:
                slot = at
    return slot


@kernel
def _follow(
    slots_S: Words,
    newest: int,
    rows_BL: Words,
    before_BL: Words,
    seen_BL: Words,
    kinds_BL: Words,
    discount: float,
    prob_BT: Floats,
) -> None:
    """Interpolate the targets one order further, and replace each context by one a token longer.

    A context is the place of its first occurrence, how often it was followed, and by how many kinds
    of token.
    """
    (B, L), S = rows_BL.shape, len(slots_S)
    lead = L - prob_BT.shape[1]
    first, touched = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.uint32)
    for b in range(B):
        # Of the position before, whose n-gram is the context of the next order here.
        place, seen, kinds = np.uint32(UNSEEN), np.uint32(0), np.uint32(0)
        for start in range(0, L, BLOCK):
            stop = min(start + BLOCK, L)
            for j in range(stop - start):
                first[j] = _first_slot(before_BL[b, start + j], rows_BL[b, start + j], S)
            for j in range(stop - start):
                touched[j] = slots_S[first[j], COUNT]
            for i in range(start, stop):
                prefix, token, at = before_BL[b, i], rows_BL[b, i], first[i - start]
                count = np.uint32(0)
                if prefix != UNSEEN:
                    while slots_S[at, COUNT]:
                        if (
                            slots_S[at, PREFIX] == prefix
                            and slots_S[at, LAST_AND_KINDS] >> 16 == token
                        ):
                            count = slots_S[at, COUNT]
                            break
                        at = at + 1 if at + 1 < S else 0
                followed = seen_BL[b, i]
                if i >= lead and followed > 0:
                    prob_BT[b, i - lead] *= discount * kinds_BL[b, i] / followed
                    if count:
                        prob_BT[b, i - lead] += (count - discount) / followed
                before_BL[b, i], seen_BL[b, i], kinds_BL[b, i] = place, seen, kinds
                place, seen, kinds = np.uint32(UNSEEN), np.uint32(0), np.uint32(0)
                if count:
                    place = slots_S[at, PLACE]
                    seen = np.uint32(count - (place == newest))
                    kinds = slots_S[at, LAST_AND_KINDS] & np.uint32(0xFFFF)
                    if not kinds and seen:
                        kinds = np.uint32(1 << 16)  # one more than the field holds
