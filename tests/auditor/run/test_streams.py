import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.run.streams import changed_from, uniform


def test_a_uniform_token_costs_the_logarithm_of_the_vocabulary():
    assert uniform(384, 10, "a").nats_per_token == math.log(384)


def test_the_stream_follows_from_its_seed():
    one, same, other = (uniform(384, 1000, seed).tokens for seed in ("a", "a", "b"))
    assert (one == same).all()
    assert (one != other).any()


def test_every_token_is_drawn_about_equally_often():
    counts = np.bincount(uniform(16, 160_000, "a").tokens, minlength=16)
    # Six standard deviations of a binomial count: a false alarm once in 10^8 seeds.
    assert np.abs(counts - 10_000).max() < 6 * math.sqrt(10_000)


@given(st.integers(1, 99), st.text(max_size=5))
def test_a_change_keeps_the_prefix_and_surely_changes_the_position(position, seed):
    before = uniform(8, 100, "a")
    after = changed_from(before, position, 8, seed)
    assert (after.tokens[:position] == before.tokens[:position]).all()
    assert after.tokens[position] != before.tokens[position]
    assert after.tokens.max() < 8


@pytest.mark.parametrize("position", [0, 100])
def test_a_change_outside_the_stream_is_refused(position):
    with pytest.raises(ValueError, match=r"1\.\.99, got"):
        changed_from(uniform(8, 100, "a"), position, 8, "b")
