"""The mixers of `reference_impl.ngram` on the fast caches: the same charges, sooner."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.engine.exact import QuickExactCache
from reference_impl.engine.hashed import QuickHashedTables
from reference_impl.evaluate import Floats, Ints, Mixer
from reference_impl.mixture.entropy import MIN_CACHE_TOKENS, adaptive_weight, entropy_nats
from reference_impl.mixture.gate import MIN_COUNT, expert_weights, gates_for
from reference_impl.model.gpt import Output
from reference_impl.ngram.exact import MAX_ROWS, ExactMixer, GatedExactMixer, rows_of
from reference_impl.ngram.hashed import GatedHashedMixer, HashedMixer, minus_charges
from reference_impl.ngram.oracle import Oracle
from reference_impl.record import System


class QuickExactMixer:
    """`ExactMixer` for the charges of targets, which need no other column of the vocabulary."""

    def __init__(self, settings: Settings) -> None:
        """Start with an empty cache."""
        self.cache = QuickExactCache(settings.vocab_size, settings.ngram_max_order)

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Let the cache count the tokens after the lead; it knows itself what stood before."""
        self.cache.update(tokens_T[lead:])

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return minus the log of each target's share of the mixed distribution."""
        targets_T = torch.from_numpy(targets_BT).reshape(-1)
        neural_T = _target_probabilities(output.logits.flatten(0, 1), targets_T)
        mixed_T = neural_T
        if self.cache.total >= MIN_CACHE_TOKENS:
            every = rows_of(output, slice(None))
            mixed_T = self._mixed(every, neural_T, inputs_BL, targets_BT)
        return -mixed_T.log().view(targets_BT.shape)

    def _mixed(self, output: Output, neural_T: Tensor, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        weight_T = adaptive_weight(entropy_nats(output.logits)).double().cpu()
        probs_BT = self.cache.probabilities(inputs_BL, targets_BT)
        return (1 - weight_T) * neural_T + weight_T * torch.from_numpy(probs_BT).reshape(-1)

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Ask for every token of the vocabulary, one after the other."""
        return minus_charges(self.nats, output, inputs_BL)


class QuickGatedExactMixer(QuickExactMixer):
    """`GatedExactMixer` for the charges of targets."""

    def _mixed(self, output: Output, neural_T: Tensor, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        probs_BTN, seen_BTN = self.cache.orders(inputs_BL, targets_BT)
        probs_TN = torch.from_numpy(probs_BTN).flatten(0, 1)
        valid_TN = torch.from_numpy(seen_BTN >= MIN_COUNT).flatten(0, 1)
        gates_TE = gates_for(output, probs_TN.shape[1]).double().cpu()
        weight_TE = expert_weights(gates_TE, valid_TN)
        expert_TE = torch.cat([neural_T[:, None], probs_TN * valid_TN], dim=1)
        return (weight_TE * expert_TE).sum(dim=1)


def _target_probabilities(logits_TV: Tensor, targets_T: Tensor) -> Tensor:
    targets_T = targets_T.to(logits_TV.device)
    probs_T = torch.empty(len(targets_T), dtype=torch.float64)
    for first in range(0, len(targets_T), MAX_ROWS):
        rows = slice(first, first + MAX_ROWS)
        probs_TV = torch.softmax(logits_TV[rows].double(), dim=-1)
        probs_T[rows] = probs_TV.gather(1, targets_T[rows, None])[:, 0].cpu()
    return probs_T


def hashed_mixer(settings: Settings) -> HashedMixer:
    """Return #779's mixer on the fast tables."""
    return HashedMixer(settings, QuickHashedTables(settings))


def gated_hashed_mixer(settings: Settings) -> GatedHashedMixer:
    """Return #834's mixer on the fast tables."""
    return GatedHashedMixer(settings, QuickHashedTables(settings))


def oracle(settings: Settings) -> Oracle:
    """Return #834's teacher on the fast tables."""
    return Oracle(settings, QuickHashedTables(settings))


QUICK: dict[Callable[[Settings], Any], Callable[[Settings], Any]] = {
    HashedMixer: hashed_mixer,
    GatedHashedMixer: gated_hashed_mixer,
    ExactMixer: QuickExactMixer,
    GatedExactMixer: QuickGatedExactMixer,
    Oracle: oracle,
}


def with_quick_parts(system: System) -> System:
    """Return the system with each part that has a fast form in that form."""

    def mixer_of(settings: Settings) -> Mixer:
        # Whole distributions can only be checked where they are made.
        checked = settings.check_distributions
        chosen = system.mixer_of if checked else QUICK.get(system.mixer_of, system.mixer_of)
        mixer: Mixer = chosen(settings)
        return mixer

    teacher_of = system.teacher_of and QUICK.get(system.teacher_of, system.teacher_of)
    return replace(system, mixer_of=mixer_of, teacher_of=teacher_of)
