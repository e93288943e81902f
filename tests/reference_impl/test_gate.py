import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.errors import TrainingError
from reference_impl.mixture.gate import Lookup, expert_weights, mixture_nats
from reference_impl.mixture.losses import complement_weights, training_loss
from reference_impl.model.gpt import Output

PR834 = replace(Settings(), mixture_loss_weight=0.1)
PR924 = replace(Settings(), mixture_loss_weight=0.15, complement_alpha=0.5, ngram_max_order=16)


def starting_gates(experts: int) -> Tensor:
    """As a fresh head gives them: only the network's bias is not zero."""
    gates = torch.zeros(1, 1, experts, dtype=torch.float64)
    gates[..., 0] = 2
    return gates


def everywhere(probs: list[float], valid: list[bool]) -> Lookup:
    return Lookup(torch.tensor([[probs]], dtype=torch.float64), torch.tensor([[valid]]))


def test_the_starting_weights_are_those_of_the_record() -> None:
    weights = expert_weights(starting_gates(16), torch.ones(1, 1, 15, dtype=torch.bool))[0, 0]
    assert weights[0].item() == pytest.approx(0.364, abs=5e-4)
    assert weights[1:].tolist() == pytest.approx([0.0424] * 15, abs=5e-5)


@examples(max_examples=60)
@given(
    gates=st.lists(st.floats(-80, 80), min_size=7, max_size=7),
    valid=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_weights_follow_the_slow_law_and_sum_to_one(gates: list[float], valid: list[bool]) -> None:
    logits = torch.tensor([gates], dtype=torch.float64)
    weights = expert_weights(logits, torch.tensor([valid]))[0].tolist()
    usable = [True, *valid]
    peak = max(gate for gate, use in zip(gates, usable, strict=True) if use)
    shares = [math.exp(g - peak) if use else 0.0 for g, use in zip(gates, usable, strict=True)]
    expected = [0.95 * share / sum(shares) for share in shares]
    expected[0] += 0.05
    assert weights == pytest.approx(expected, abs=1e-12)
    assert math.fsum(weights) == pytest.approx(1, abs=1e-12)


def test_the_mixture_weighs_the_network_and_each_order() -> None:
    lookup = everywhere([0.5, 0.9, 0.25], [True, False, True])
    gates = torch.tensor([[[1.0, 2.0, 9.0, 3.0]]], dtype=torch.float64)
    e = [math.exp(1), math.exp(2), math.exp(3)]
    share = [0.05 + 0.95 * e[0] / sum(e), 0.95 * e[1] / sum(e), 0.95 * e[2] / sum(e)]
    expected = -math.log(share[0] * 0.125 + share[1] * 0.5 + share[2] * 0.25)
    neural = torch.tensor([[0.125]], dtype=torch.float64)
    assert mixture_nats(gates, neural, lookup).item() == pytest.approx(expected)


def test_no_mixture_is_charged_more_than_its_smallest_probability() -> None:
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    charged = mixture_nats(starting_gates(2), nothing, everywhere([0.0], [True])).item()
    assert charged == pytest.approx(-math.log(1e-12))


def test_the_longest_valid_order_is_backed_off_to() -> None:
    best, found = everywhere([0.5, 0.25, 0.75], [True, True, False]).backed_off(0.1)
    assert (best.item(), found.item()) == (0.25, True)
    best, found = everywhere([0.5, 0.25, 0.75], [False] * 3).backed_off(0.1)
    assert (best.item(), found.item()) == (0.1, False)


@pytest.mark.parametrize(
    ("known", "weight"), [(0.0, 1.0), (0.3, 1.0), (0.65, 0.75), (0.9799, 0.5144), (1.0, 0.5)]
)
def test_tokens_that_ngrams_know_weigh_less(known: float, weight: float) -> None:
    weights = complement_weights(everywhere([0.1, known], [True, True]), 1 / 1024, 0.5)
    assert weights.item() == pytest.approx(weight, abs=5e-5)


def test_no_token_weighs_less_than_the_floor() -> None:
    assert complement_weights(everywhere([1.0], [True]), 0.1, 1.0).item() == pytest.approx(0.05)


def test_the_first_loss_of_924_is_that_of_its_log() -> None:
    """An untrained network, saturated tables: 3.565 of cross-entropy and 0.15 x 0.676."""
    probs = [(12.0 - 0.9799) / 14] * 14 + [0.9799]
    output = Output(torch.zeros(1, 1, 1024), torch.zeros(1, 1, 4), starting_gates(16))
    loss = training_loss(output, torch.tensor([[7]]), everywhere(probs, [True] * 15), PR924)
    assert loss.item() == pytest.approx(3.6661, abs=2e-3)


def output_of(hidden: Tensor, to_logits: Tensor, to_gates: Tensor) -> Output:
    return Output(hidden @ to_logits, hidden, hidden @ to_gates)


def test_the_loss_of_834_adds_a_tenth_of_the_mixture() -> None:
    output = output_of(torch.randn(2, 3, 4), torch.randn(4, 5), torch.randn(4, 7))
    targets, valid = torch.randint(5, (2, 3)), torch.rand(2, 3, 6) > 0.5
    lookup = Lookup(torch.rand(2, 3, 6), valid)
    neural = output.logits.softmax(-1).gather(-1, targets[..., None])[..., 0]
    assert output.gates is not None
    mixed = mixture_nats(output.gates, neural, lookup).mean()
    plain = functional.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    assert training_loss(output, targets, None, PR834).item() == plain.item()
    loss = training_loss(output, targets, lookup, PR834)
    assert loss.item() == pytest.approx((plain + 0.1 * mixed).item(), rel=1e-6)


def test_the_mixture_teaches_gate_hidden_and_logits_but_no_counts() -> None:
    hidden = torch.randn(2, 3, 4, requires_grad=True)
    to_logits, to_gates = torch.randn(4, 5), torch.randn(4, 7)
    to_logits.requires_grad_(), to_gates.requires_grad_()
    lookup = Lookup(torch.rand(2, 3, 6), torch.ones(2, 3, 6, dtype=torch.bool))
    targets = torch.randint(5, (2, 3))
    parts = (hidden, to_logits, to_gates)

    def gradients(settings: Settings) -> list[Tensor | None]:
        loss = training_loss(output_of(*parts), targets, lookup, settings)
        return list(torch.autograd.grad(loss, parts, allow_unused=True))

    plain, mixed = gradients(replace(PR834, mixture_loss_weight=0.0)), gradients(PR834)
    assert plain[2] is None
    assert mixed[2] is not None
    assert mixed[2].abs().max() > 1e-4
    for before, after in zip(plain[:2], mixed[:2], strict=True):
        assert before is not None
        assert after is not None
        assert (after - before).abs().max() > 1e-4
    assert not lookup.probs.requires_grad


def test_a_model_with_too_few_gates_is_refused() -> None:
    bare = Output(torch.zeros(1, 1, 8), torch.zeros(1, 1, 4))
    lookup = everywhere([0.5] * 6, [True] * 6)
    with pytest.raises(TrainingError, match="6 n-gram orders needs 7 gates, got 0"):
        training_loss(bare, torch.tensor([[1]]), lookup, PR834)
    with pytest.raises(TrainingError, match="needs 7 gates, got 16"):
        training_loss(bare._replace(gates=starting_gates(16)), torch.tensor([[1]]), lookup, PR834)
