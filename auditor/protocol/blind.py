"""Blind replay: some windows are predicted again, token by token, by a process without the future.

The fast pass gets whole windows, so it could look ahead inside them, and its own charges are a
claim. In a replay a token leaves this process only after its distribution has arrived, and after
the digest of that distribution has. What stands after the position is drawn at random, so that the
input has the shape that it had in the fast pass: other shapes are added up in another order, which
16-bit arithmetic shows.

Which windows are replayed is drawn after the charges are in: a system that could work out the draw
would look ahead elsewhere. Two processes replay, with other tokens in place of the future. Where a
charge differs, fast pass and replay are repeated there before anybody speaks of a violation: what
does not repeat itself is noise, and says how large it is.
"""

import hashlib
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.errors import CannotMeasure, SubmissionError
from auditor.evidence import BlindReplay
from auditor.protocol.bitstream import digest
from auditor.protocol.child.schedule import Window, windows
from auditor.protocol.conversation import Conversation, Ended, conversation
from auditor.protocol.evaluation import evaluate
from auditor.protocol.host import NoDistribution, Progress, Room
from auditor.protocol.shards import Tokens
from auditor.run.sandbox.limits import MAX_EVENT_BYTES
from auditor.submission import Submission

TOLERANCE_NATS = 1e-4
"""Charges that differ by less are the same: over a whole stream that is 0.0001 nats a token."""
MAX_REPEATED = 64
"""Positions that are replayed once more where charges differ."""
ANSWER_BYTES = 600
"""Of the answer at a position, besides its distribution."""
MOST_NATS = 1000.0
"""What a token without any chance costs in differences; 64 bits end at 745 nats."""
MAX_WINDOWS = 4_000_000
"""Four times those of the challenge's whole split; a stride of one would be a list of gigabytes."""
NONCE_BYTES = 16

Floats = npt.NDArray[np.float64]


def replay(
    submission: Submission,
    tokens: Tokens,
    count: int,
    room: Room,
    progress: Progress,
    nonce: bytes | None = None,
    text_bytes: int | None = None,
) -> BlindReplay | NoDistribution:
    """Charge a stream in a fast pass, and `count` of its windows again, blindly.

    The windows follow from the submission, the stream, the charges and the nonce, which is drawn
    here unless a replay is to be made again. SubmissionError for more positions than can be
    answered for.
    """
    if count < 1:
        raise SubmissionError(f"expected at least 1 window to replay, got {count}")
    plan = _fast_pass(submission, tokens, room, progress)
    if isinstance(plan, NoDistribution):
        return plan
    nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
    seed = seed_of(submission, tokens, plan.fast_nats_T, nonce)
    drawn = draw(len(plan.windows), count, seed)
    asked = [p for i in sorted(drawn) for p in range(plan.windows[i].first, plan.windows[i].stop)]
    _check_room(len(asked), plan.vocab_size)
    blind: list[dict[int, float]] = []
    for future in range(2):
        doing = ("blind replay", "second blind replay")[future]
        nats = _blindly(plan, seed, dict.fromkeys(asked, future), room, progress, doing)
        if isinstance(nats, NoDistribution):
            return nats
        blind.append(nats)
    blind_nats = np.array([[nats[p] for p in asked] for nats in blind])
    fast_nats = plan.fast_nats_T[asked]
    apart = _apart(blind_nats, fast_nats)
    worst = int(apart.max(axis=0).argmax())
    differing = {
        asked[i]: int(apart[:, i].argmax())
        for i in np.argsort(-apart.max(axis=0), kind="stable")
        if apart[:, i].max() > TOLERANCE_NATS
    }
    noise_nats, repeated, unrepeated = float(_apart(*blind_nats).max()), 0, 0
    if differing:
        again = _repeated(plan, seed, differing, blind, room, progress)
        if isinstance(again, NoDistribution):
            return again
        repeated = min(len(differing), MAX_REPEATED)
        noise_nats, unrepeated = float(again.max()), int((again > TOLERANCE_NATS).sum())
    total, drawn_count = len(plan.windows), len(drawn)
    return BlindReplay(
        tokens_sha256=digest(tokens.astype("<u2").tobytes()),
        text_bytes=text_bytes,
        folder_bytes=sum(len(file.data) for file in submission.files.values()),
        positions=len(tokens) - 1,
        windows=total,
        replayed_windows=drawn_count,
        replayed=len(asked),
        fast_nats=_finite(math.fsum(plan.fast_nats_T)),
        fast_there_nats=_finite(math.fsum(fast_nats)),
        blind_nats=_finite(math.fsum(blind_nats[0])),
        blind_error_nats=_standard_error([plan.windows[i] for i in sorted(drawn)], blind[0]),
        gained_nats=math.fsum(_bounded(blind_nats[0]) - _bounded(fast_nats)),
        root_square_nats=math.sqrt(math.fsum(apart[0] ** 2)),
        worst_nats=float(apart.max()),
        worst_position=asked[worst],
        tolerance_nats=TOLERANCE_NATS,
        differing=len(differing),
        repeated=repeated,
        unrepeated=unrepeated,
        noise_nats=noise_nats,
        miss_hundredth=miss_probability(total, drawn_count, -(-total // 100)),
        miss_tenth=miss_probability(total, drawn_count, -(-total // 10)),
        miss_position=miss_probability(total, drawn_count, -(-(len(tokens) - 1) // 1000)),
        nonce=nonce.hex(),
    )


def miss_probability(windows: int, drawn: int, leaking: int) -> float:
    """Return how likely it is that none of the leaking windows is among those drawn."""
    good = windows - min(leaking, windows)
    return math.comb(good, drawn) / math.comb(windows, drawn)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the fast pass leaves to be held against."""

    submission: Submission
    tokens: Tokens
    windows: list[Window]
    vocab_size: int
    fast_nats_T: Floats


def _fast_pass(
    submission: Submission, tokens: Tokens, room: Room, progress: Progress
) -> _Plan | NoDistribution:
    done = evaluate(submission, tokens, room, progress)
    if isinstance(done, NoDistribution):
        return done
    positions = len(tokens) - 1
    about = done.about
    try:
        vocab_size = int(about["vocab_size"])
        if not 1 <= vocab_size <= 2**16:
            raise ValueError(f"the vocabulary must have 1 to 65,536 tokens, got {vocab_size:,}")
        window_tokens, stride = int(about["window_tokens"]), int(about["stride"])
        if positions > MAX_WINDOWS * max(stride, 1):
            raise ValueError(f"more than {MAX_WINDOWS:,} of {stride:,} positions each")
        made = list(windows(positions, window_tokens, stride))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's windows cannot be made: {error}") from error
    return _Plan(submission, tokens, made, vocab_size, done.nats_T)


def _check_room(positions: int, vocab_size: int) -> None:
    """Refuse more answers than one process of the sandbox may send."""
    most = MAX_EVENT_BYTES // (ANSWER_BYTES + 4 * -(-8 * vocab_size // 3))
    if positions > most:
        raise SubmissionError(
            f"expected at most {most:,} positions to replay with a vocabulary of {vocab_size:,}, "
            f"got {positions:,}; fewer windows have fewer"
        )


def seed_of(submission: Submission, tokens: Tokens, nats_T: Floats, nonce: bytes) -> bytes:
    """Return what decides the draw: all that was fixed before, and what nobody knew before."""
    digest = hashlib.sha256(submission.sha256.encode())
    for part in (tokens.astype("<u2").tobytes(), nats_T.astype("<f8").tobytes(), nonce):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()


def draw(total: int, count: int, seed: bytes) -> set[int]:
    """Return which of all windows are replayed."""
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    return set(generator.permutation(total)[:count].tolist())


def _blindly(
    plan: _Plan,
    seed: bytes,
    asked: Mapping[int, int],
    room: Room,
    progress: Progress,
    doing: str,
    *,
    times: int = 1,
    as_fast: bool = False,
) -> dict[int, float] | NoDistribution:
    """Return the nats of these positions, each before one of several futures.

    Each question is put so many times; the last answer counts. With `as_fast` the system is also
    shown every window whole, as in the fast pass, once its positions have been answered.
    """
    nats: dict[int, float] = {}
    tokens = plan.tokens
    with conversation(plan.submission, len(tokens) - 1, room) as talk:
        try:
            talk.reveal(tokens, 0, 1)
            for window in plan.windows:
                if window.first > max(asked):
                    break
                for position in range(window.first, window.stop):
                    for _ in range(times if position in asked else 0):
                        future = np.random.default_rng([*seed, asked[position], position])
                        probs_V = _ask(talk, plan, window, position, future)
                        chance = float(probs_V[tokens[position + 1]])
                        nats[position] = -math.log(chance) if chance > 0 else math.inf
                    progress(doing, len(nats) / len(asked))
                if as_fast:
                    whole = slice(window.start, window.stop)
                    talk.show(tokens[whole], window.start, window.stop - window.first)
                talk.reveal(tokens, window.first + 1, window.stop + 1)
        except Ended:
            pass  # the other side says why
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
        driven = talk.end()
    if driven.broken is None and len(nats) < len(asked):
        raise CannotMeasure(
            f"the system ended after {len(nats):,} of {len(asked):,} replayed positions"
        )
    return driven.broken or nats


def _ask(
    talk: Conversation, plan: _Plan, window: Window, position: int, future: np.random.Generator
) -> Floats:
    """Ask with a window in which all after the position is drawn."""
    tokens_L = plan.tokens[window.start : window.stop].copy()
    after = slice(position + 1 - window.start, None)
    tokens_L[after] = future.integers(
        plan.vocab_size, size=window.stop - position - 1, dtype=np.uint16
    )
    return talk.ask(tokens_L, window.start, window.stop - window.first, position)


def _repeated(
    plan: _Plan,
    seed: bytes,
    differing: Mapping[int, int],
    blind: list[dict[int, float]],
    room: Room,
    progress: Progress,
) -> Floats | NoDistribution:
    """Return by how much charges change that are made again, larger of fast and blind ones.

    The replay asks for the largest differences alone, twice each, and beside them for all that the
    fast pass asks: what a system remembers of other questions is other too.
    """
    doing = "blind replay, again"
    places = list(differing)
    once_more = {p: differing[p] for p in places[:MAX_REPEATED]}
    fast = _fast_pass(plan.submission, plan.tokens, room, progress)
    if isinstance(fast, NoDistribution):
        return fast
    again = _blindly(plan, seed, once_more, room, progress, doing, times=2, as_fast=True)
    if isinstance(again, NoDistribution):
        return again
    apart = _apart(fast.fast_nats_T[places], plan.fast_nats_T[places])
    before = np.array([blind[future][p] for p, future in once_more.items()])
    blind_apart = _apart(np.array([again[p] for p in once_more]), before)
    apart[: len(before)] = np.maximum(apart[: len(before)], blind_apart)
    return apart


def _apart(first: Floats, second: Floats) -> Floats:
    """How far charges are apart; two infinite ones are the same."""
    apart: Floats = np.abs(_bounded(first) - _bounded(second))
    return apart


def _bounded(nats: Floats) -> Floats:
    """Charges without infinity."""
    bounded: Floats = np.minimum(nats, MOST_NATS)
    return bounded


def _finite(nats: float) -> float | None:
    return nats if math.isfinite(nats) else None


def _standard_error(drawn: Sequence[Window], nats: Mapping[int, float]) -> float | None:
    """Standard error of the mean charge, when windows are what was drawn."""
    sums = [math.fsum(nats[p] for p in range(w.first, w.stop)) for w in drawn]
    sizes = [w.stop - w.first for w in drawn]
    if len(sums) < 2 or not math.isfinite(sum(sums)):
        return None
    mean = sum(sums) / sum(sizes)
    residuals = [nats_sum - mean * size for nats_sum, size in zip(sums, sizes, strict=True)]
    spread = math.sqrt(math.fsum(r * r for r in residuals) / (len(sums) - 1))
    return spread * math.sqrt(len(sums)) / sum(sizes)
