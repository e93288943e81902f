"""The charges that one position would have for every token that could stand there.

A distribution that was fixed before the token is seen makes exp(-charge) add up to one at most. The
submission's own process is copied before the position is read, once a token (recorder/fork.py), the
likely tokens first, and no more of them once the sum is too large. Two things must agree before a
sum is believed: the copy with the true token charges what the run did, and a copy with another
token charges what an ordinary run on that stream does.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure
from auditor.evidence import KraftSum, KraftSums
from auditor.run.execution import Bench, Run
from auditor.run.experiments.artifact import text_inputs
from auditor.run.experiments.bars import Bars
from auditor.run.record import Forked, Served
from auditor.run.streams import Stream, text
from auditor.run.vocabulary import BOS, CONTROL_PIECES, VOCAB_SIZE

PLACES = (0.1, 0.5, 0.9)
"""Of the stream: mechanisms switch on with what they have seen."""
GRAM = 8
"""As in recorder/places.py."""
COPIES_SECONDS = 45.0
"""About what the copies take beside whole runs: three positions of 384 copies."""
BFLOAT16_STEP = 2**-8
"""Relative rounding of a charge that is kept in bfloat16, both ways together."""
ENOUGH = 1.05
"""A sum, rounding taken off, that no further tokens are tried for: it cannot fall."""


def kraft_sums(bench: Bench, base: Run, bars: Bars) -> KraftSums:
    """Sums over the vocabulary at some positions of the text that the base run was on.

    Raises CannotMeasure when charges cannot be told apart, or no position passes its checks.
    """
    return measured(bench, base, bars)[0]


def measured(bench: Bench, base: Run, bars: Bars) -> tuple[KraftSums, list[Served]]:
    """The sums, and what their copies took.

    Raises CannotMeasure when charges cannot be told apart, or no position passes its checks.
    """
    charged = base.charged
    base.nats_by_position()  # says why where there are none
    if len(charged.uncounted_position_N):
        raise CannotMeasure("only the last of several charges of a position is in the score")
    sites = [_site(base, place) for place in PLACES]
    changed = base.stream.tokens.copy()
    others = {}
    for number, (position, _) in enumerate(sites):
        others[number] = changed[position] = _other(base.stream.tokens, position)
    ordinary = bench.run(
        text_inputs(validation=_with(base.stream, changed)), bars("on text, some tokens changed")
    )
    kind, site = charged.values
    ask = {
        "begins": base.stage.begins + 1,
        "ends": base.stage.score.label,
        "kind": kind,
        "site": list(site) if site else None,
        "rounding": BFLOAT16_STEP,
        "enough": ENOUGH,
        "sites": [
            {
                "position": position,
                "charge_order": int(charged.value_order_N[index]),
                "index": index,
                "other": int(others[number]),
                "values": _likely(base.stream.tokens, position),
            }
            for number, (position, index) in enumerate(sites)
        ],
    }
    forked = _patient(bench).run(text_inputs(ask={"fork": ask}), bars("copies with every token"))
    if forked.stage.score != base.stage.score:
        raise CannotMeasure(
            f"two equal runs scored {base.stage.score.val_loss:.8f} and "
            f"{forked.stage.score.val_loss:.8f}, so their copies say nothing"
        )
    found = [
        _sum(number, position, base, ordinary, forked.record.forked)
        for number, (position, _) in enumerate(sites)
    ]
    return KraftSums(sums=tuple(found)), forked.record.served


def _patient(bench: Bench) -> Bench:
    """The copies make a run longer than any other; it may take what the budget gives."""
    seconds = max(bench.plan.run_seconds, bench.plan.budget_seconds)
    return replace(bench, plan=replace(bench.plan, run_seconds=seconds))


def _sum(number: int, position: int, base: Run, ordinary: Run, forked: list[Forked]) -> KraftSum:
    """The sum at one position, and whether its checks hold."""
    tokens = base.stream.tokens
    answers = {
        one.value: one.nats for one in forked if (one.number, one.what) == (number, "vocabulary")
    }
    known = {value: nats for value, nats in answers.items() if nats is not None}
    true = int(tokens[position])
    together = [one.nats for one in forked if (one.number, one.what) == (number, "together")]
    expected = _first(ordinary, position)
    charged = _first(base, position)
    why = None
    if not known:
        why = "no copy got to the charge"
    elif known.get(true) != charged:
        why = f"the copy with the true token charged {known.get(true)}, the run {charged}"
    elif together[:1] != [expected]:
        why = (
            "the copy with other tokens charged "
            f"{together[0] if together else None}, an ordinary run on them {expected}"
        )
    nats = np.array([known[value] for value in sorted(known)], dtype=np.float64)
    shares = np.exp(-nats)
    return KraftSum(
        position=position,
        total=math.fsum(shares),
        least=math.fsum(np.exp(-nats * (1 + BFLOAT16_STEP))),
        largest=float(shares.max(initial=0.0)),
        answered=len(known),
        vocab_size=VOCAB_SIZE,
        charged_nats=charged,
        doubt=why,
    )


def _first(run: Run, position: int) -> float | None:
    """What the first charge of a position was."""
    places = np.flatnonzero(run.charged.position_N == position)
    if not len(places) or not len(run.charged.nats_N):
        return None
    return float(run.charged.nats_N[places[0]])


def _site(run: Run, place: float) -> tuple[int, int]:
    """A position near a place of the stream that can be found in memory, and its first charge."""
    tokens = run.stream.tokens
    train = text().train.tokens
    start = int(place * len(tokens))
    for position in range(start, len(tokens) - GRAM):
        if tokens[position] < len(CONTROL_PIECES) or position < GRAM:
            continue
        before = tokens[position - GRAM + 1 : position + 1]
        after = tokens[position : position + GRAM]
        unique = all(
            _count(tokens, gram) == 1 and _count(train, gram) == 0 for gram in (before, after)
        )
        charges = np.flatnonzero(run.charged.position_N == position)
        if unique and len(charges):
            return position, int(charges[0])
    raise CannotMeasure(
        f"no position after {start:,} stands among {GRAM} tokens that are nowhere else"
    )


def _likely(tokens: NDArray[np.uint16], position: int) -> list[int]:
    """Every token: the true one, then those that often follow the one before it in the text."""
    train = text().train.tokens
    single_V = np.bincount(train, minlength=VOCAB_SIZE)
    followers = train[1:][train[:-1] == tokens[position - 1]]
    often_V = np.bincount(followers, minlength=VOCAB_SIZE) * len(train) + single_V
    order = np.argsort(-often_V, kind="stable").tolist()
    true = int(tokens[position])
    return [true, *(token for token in order if token != true)]


def _count(tokens: NDArray[np.uint16], gram: NDArray[np.uint16]) -> int:
    """How often a stretch occurs."""
    windows = np.lib.stride_tricks.sliding_window_view(tokens, len(gram))
    return int((windows == gram).all(axis=1).sum())


def _other(tokens: NDArray[np.uint16], position: int) -> int:
    """A token that stands elsewhere in the stream, and is no control token."""
    for token in tokens[position + 1 :].tolist():
        if token >= len(CONTROL_PIECES) and token != tokens[position]:
            return int(token)
    return BOS


def _with(stream: Stream, tokens: NDArray[np.uint16]) -> Stream:
    return Stream(stream.source, tokens, stream.nats_N, stream.vocabulary)
