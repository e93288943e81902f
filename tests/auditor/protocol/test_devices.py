"""Predictions that stay where they are: charges are worked out there, and T numbers come over."""

from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.protocol.child import distributions
from auditor.protocol.child.distributions import NotADistribution, charges, checked

T, V = 40, 300
ELSEWHERE = array_api_strict.Device("device1")
"""A device whose arrays numpy cannot read; only a copy to the host can be."""


def log_probs(seed: int) -> np.ndarray:
    logits_TV = np.random.default_rng(seed).normal(size=(T, V)) * 3
    log_probs_TV: np.ndarray = logits_TV - np.log(np.exp(logits_TV).sum(axis=1, keepdims=True))
    return log_probs_TV


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of all that is copied to the host."""
    shapes: list[tuple[int, ...]] = []
    on_host = distributions._on_host

    def noted(array: Any) -> Any:
        shapes.append(tuple(array.shape))
        return on_host(array)

    monkeypatch.setattr(distributions, "_on_host", noted)
    return shapes


def refusing() -> Any:
    array = array_api_strict.asarray(log_probs(1), device=ELSEWHERE)
    with pytest.raises(RuntimeError, match="Can't convert array"):
        np.asarray(array)
    return array


KINDS = {
    "torch": lambda: torch.from_numpy(log_probs(1)),
    "torch with a gradient": lambda: torch.from_numpy(log_probs(1)).requires_grad_(),
    "a device that numpy cannot read": refusing,
    "numpy": lambda: log_probs(1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_summed", [True, False])
@pytest.mark.parametrize("block_values", [1 << 24, 7 * V])
def test_of_a_window_one_number_a_position_comes_to_the_host(
    kind, is_summed, block_values, copied, monkeypatch
):
    monkeypatch.setattr(distributions, "BLOCK_VALUES", block_values)
    targets_T = np.random.default_rng(2).integers(V, size=T)
    nats_T, sums_T = charges(KINDS[kind](), 0, targets_T, V, is_summed)
    assert np.allclose(nats_T, -log_probs(1)[np.arange(T), targets_T], atol=1e-12)
    assert np.allclose(sums_T, 1) if is_summed else len(sums_T) == 0
    assert isinstance(nats_T, np.ndarray)
    assert nats_T.dtype == np.float64
    assert all(len(shape) == 1 for shape in copied)
    assert sum(shape[0] for shape in copied) == T * (1 + is_summed)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_to_be_coded_comes_over_row_by_row(kind, copied):
    row_TV = KINDS[kind]()[3:4, :]
    assert np.allclose(checked(row_TV, 3, 1, V), np.exp(log_probs(1)[3:4]), atol=1e-12)
    assert copied == [(1, V)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), precision=st.sampled_from(["bfloat16", "float16", "float32"]))
def test_low_precision_is_added_up_in_64_bits(seed, precision):
    """And a sum that is off by more than the tolerance is refused there too, with the sum."""
    rows = torch.from_numpy(log_probs(seed)).to(getattr(torch, precision))
    exact = rows.double().exp().sum(dim=1).numpy()
    targets_T = np.zeros(T, dtype=np.int64)
    if np.abs(exact - 1).max() <= distributions.SUM_TOLERANCE:
        assert np.allclose(charges(rows, 0, targets_T, V, True)[1], exact, atol=1e-12)
        return
    first = int(np.flatnonzero(np.abs(exact - 1) > distributions.SUM_TOLERANCE)[0])
    with pytest.raises(NotADistribution) as caught:
        charges(rows, 100, targets_T, V, True)
    assert caught.value.position == 100 + first
    assert caught.value.total == pytest.approx(float(exact[first]), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_shape_and_what_is_no_number_are_refused_without_a_copy(kind, copied):
    with pytest.raises(NotADistribution, match=r"shape \(40, 299\), got \(40, 300\)"):
        charges(KINDS[kind](), 0, np.zeros(T, dtype=np.int64), V - 1, True)
    assert copied == []
    rows = KINDS[kind]() * float("nan")
    with pytest.raises(NotADistribution, match="must sum to 1, got nan"):
        charges(rows, 0, np.zeros(T, dtype=np.int64), V, True)


def test_lists_are_taken_as_arrays():
    rows = log_probs(1).tolist()
    assert np.allclose(charges(rows, 0, np.zeros(T, dtype=np.int64), V, True)[1], 1)
