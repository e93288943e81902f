"""Tests on the scores of seeds; so few that a library of statistics would be the larger part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 20_001
"""Of the numeric integral; the tail is good to 1e-9 with it."""


@dataclass(frozen=True, slots=True)
class Welch:
    """A one-sided test of Welch: the first mean is the smaller one by more than a margin."""

    difference: float
    """Mean of the second minus mean of the first."""
    t: float
    degrees: float
    """Of freedom, by Welch and Satterthwaite."""
    p: float
    """Probability of so large a difference when the true one is the margin."""


def welch(new: Sequence[float], old: Sequence[float], margin: float = 0.0) -> Welch:
    """Test `mean(old) - mean(new) > margin`; ValueError with fewer than two scores on a side.

    B. L. Welch, Biometrika 34 (1947). Scores that do not vary at all make the answer certain.
    """
    if len(new) < 2 or len(old) < 2:
        raise ValueError(f"expected two scores on each side, got {len(new)} and {len(old)}")
    difference = float(np.mean(old) - np.mean(new))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (new, old)]
    variance = sum(parts)
    if variance == 0:
        sure = difference > margin
        endless = math.copysign(math.inf, difference - margin)
        return Welch(difference, endless, 1, 0.0 if sure else 1.0)
    t = (difference - margin) / math.sqrt(variance)
    degrees = variance**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (new, old), strict=True)
    )
    return Welch(difference, t, degrees, students_tail(t, degrees))


def students_tail(t: float, degrees: float) -> float:
    """P(T > t) for Student's t with any positive number of degrees of freedom.

    With t = sqrt(degrees) tan(a) the density becomes a power of cos(a), which Simpson's rule takes.
    """
    angle = math.atan2(abs(t), math.sqrt(degrees))
    a = np.linspace(angle, math.pi / 2, STEPS)
    density = np.cos(a) ** (degrees - 1)
    weights = np.ones(STEPS)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    integral = float((weights * density).sum()) * (math.pi / 2 - angle) / (STEPS - 1) / 3
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    tail = scale * integral
    return tail if t >= 0 else 1 - tail
