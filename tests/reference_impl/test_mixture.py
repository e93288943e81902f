import math

import pytest
import torch

from reference_impl.mixture.entropy import adaptive_weight, entropy_nats, temper


@pytest.mark.parametrize(
    ("entropy", "weight"),
    [(0.0, 0.0502), (2.0, 0.0599), (4.0, 0.325), (math.log(1024), 0.5984)],
)
def test_the_weight_grows_with_entropy_as_published(entropy: float, weight: float) -> None:
    assert adaptive_weight(torch.tensor(entropy)).item() == pytest.approx(weight, abs=5e-5)


def test_entropy_is_in_nats() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
    assert entropy_nats(logits).tolist() == pytest.approx([math.log(4), 0.0], abs=1e-6)


def test_only_confident_rows_are_sharpened() -> None:
    flat, sharp = torch.zeros(1, 1, 8) + 3, torch.tensor([[[100.0, 0, 0, 0, 0, 0, 0, 0]]])
    assert temper(flat).equal(flat)
    assert temper(sharp)[0, 0, 0].item() == pytest.approx(100 / 0.98)
