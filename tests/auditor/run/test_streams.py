import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.run.streams import SUCCESSORS, changed_from, markov, repeat, sampled, text, uniform


def test_a_uniform_token_costs_the_logarithm_of_the_vocabulary():
    assert uniform(384, 10, "a").nats_per_token == pytest.approx(math.log(384), rel=1e-12)


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


@pytest.mark.parametrize("source", [markov, repeat])
def test_a_source_says_what_each_token_costs_and_draws_by_its_seed(source):
    stream = source(400, "a")
    assert np.isfinite(stream.nats_N).all()
    assert (stream.nats_N > -1e-9).all()
    assert (source(400, "a").tokens == stream.tokens).all()
    assert (source(400, "b").tokens != stream.tokens).any()
    assert len(stream.tokens) == len(stream.nats_N) == 400


def test_a_copied_stretch_costs_its_choice_and_a_fresh_one_its_noise():
    """By the definition: half for noise, half shared among the stretches before."""
    stream = repeat(64 * 60, "a")
    stretches = [tuple(s) for s in stream.tokens.reshape(-1, 64).tolist()]
    copied = 0
    for index, stretch in enumerate(stretches):
        fresh = Fraction(1, 384**64)
        if index:
            same = Fraction(stretches[:index].count(stretch), index)
            chance = fresh / 2 + same / 2
            copied += same > 0
        else:
            chance = fresh
        said = stream.nats_N[64 * index : 64 * (index + 1)].sum()
        expected = math.log(chance.denominator) - math.log(chance.numerator)
        assert said == pytest.approx(expected, abs=1e-6)
    assert 15 < copied < 45


def test_after_each_token_of_the_chain_a_few_are_equally_likely():
    tokens = markov(50_000, "a").tokens.astype(np.int64)
    counts = np.zeros((384, 384))
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    assert (counts > 0).sum(axis=1).max() <= SUCCESSORS
    seen = counts[counts > 0]
    # Around 8 visits a pair, as Poisson: the largest of 6,144 stays under 26 but for one in 10^3.
    assert 7 < seen.mean() < 9.5
    assert seen.max() < 26


def test_text_shares_nothing_and_begins_its_documents_with_bos():
    given_text = text()
    tokens = given_text.validation.tokens
    assert (tokens[0], len(tokens)) == (1, 16_001)
    assert (tokens == 1).sum() > 3
    assert len(given_text.train.tokens) > 50_000
    # A long stretch of one is nowhere in the others.
    needle = tokens[4_000:4_040].tobytes()
    assert needle not in given_text.train.tokens.tobytes()
    assert needle not in given_text.other_train.tokens.tobytes()


def test_sampled_text_costs_less_than_noise():
    stream = sampled(2_000, "a")
    assert stream.nats_N[0] == 0  # a BOS by definition
    assert 2 < stream.nats_per_token < math.log(384)
