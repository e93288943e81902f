"""Welch's test against figures from tables and a slow simulation."""

import math

import numpy as np
import pytest

from auditor.stats import students_tail, welch


@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [  # from tables of Student's t, one-sided
        (6.313752, 1, 0.05),
        (2.919986, 2, 0.05),
        (4.302653, 2, 0.025),
        (2.131847, 4, 0.05),
        (3.746947, 4, 0.01),
        (1.812461, 10, 0.05),
        (2.364217, 100, 0.01),
        (0.0, 3.7, 0.5),
    ],
)
def test_tails_are_those_of_the_tables(t, degrees, p):
    assert students_tail(t, degrees) == pytest.approx(p, rel=2e-6)
    assert students_tail(-t, degrees) == pytest.approx(1 - p, rel=2e-6)


def test_p_is_the_share_of_equal_records_that_look_so_much_better():
    """Under the margin itself p is uniform, whatever the spreads."""
    draw = np.random.default_rng(3)
    below = 0
    for _ in range(2_000):
        new, old = draw.normal(1.0, 0.001, 3), draw.normal(1.01, 0.002, 4)
        below += welch(new.tolist(), old.tolist(), 0.01).p < 0.1
    assert below / 2_000 == pytest.approx(0.1, abs=0.025)


def test_the_margin_is_in_the_answer_and_one_score_is_no_sample():
    gain = welch([1.0, 1.001, 0.999], [1.02, 1.021, 1.019])
    assert gain.difference == pytest.approx(0.02)
    assert gain.degrees == pytest.approx(4)
    assert gain.p < 0.001 < welch([1.0, 1.001, 0.999], [1.02, 1.021, 1.019], 0.0199).p
    assert welch([1.0, 1.0], [2.0, 2.0]).p == 0
    assert welch([1.0, 1.0], [1.0, 1.0]).p == 1
    assert math.isinf(welch([1.0, 1.0], [2.0, 2.0]).t)
    with pytest.raises(ValueError, match="expected two scores on each side, got 1 and 2"):
        welch([1.0], [1.0, 2.0])
