"""The bound of one run, by what is known of its charges."""

import math

import numpy as np
import pytest

from auditor.errors import CannotMeasure
from auditor.run.align import Aligner
from auditor.run.execution import Run
from auditor.run.experiments.noise import noise_bound
from auditor.run.record import Record, Score
from auditor.run.streams import uniform
from auditor.run.timeline import Charges, Stage

STREAM = uniform(384, 101, "bound")
LN_V = math.log(384)


def run(positions: list[int], nats: list[float], printed: float) -> Run:
    """A run that charged these positions in this order; `nats` may be empty or something else."""
    score = Score(1000, "final_exact", printed, 1.0, 8)
    order_N = np.arange(len(positions))
    return Run(
        stream=STREAM,
        record=Record(),
        aligner=Aligner(STREAM.tokens.astype(np.int32)),
        stage=Stage(score, 0),
        earlier=(),
        charged=Charges(
            order_N, np.array(positions), np.array(nats), None, value_order_N=order_N[: len(nats)]
        ),
        artifacts=(),
        overrides=(),
        output="",
        seconds=1.0,
        ranks=1,
    )


ONCE = list(range(1, 101))
AGAIN = [*ONCE, *range(91, 101)]


def test_charges_that_are_known_are_bet_on():
    bound = noise_bound(run(ONCE, [LN_V - 1] * 100, LN_V - 1))
    assert bound.ln_e == pytest.approx(100)
    assert bound.hedged_nats is not None
    assert bound.hedged_nats > 20
    assert bound.curve[-1] == (100, 100.0)


def test_values_that_do_not_give_the_printed_score_are_no_charges():
    other = run(ONCE, [0.01] * 100, LN_V)  # a weight a token, say
    bound = noise_bound(other)
    assert bound.ln_e == pytest.approx(0)
    assert (bound.hedged_nats, bound.curve) == (None, ())
    with pytest.raises(CannotMeasure, match="no recorded values stand for the charges"):
        other.nats_by_position()


def test_of_what_is_charged_again_the_first_charges_count_where_they_are_known():
    nats = [LN_V] * 100 + [0.0] * 10
    assert noise_bound(run(AGAIN, nats, sum(nats) / 110)).ln_e == pytest.approx(0)


def test_where_they_are_not_known_all_charges_together_stand_for_the_first():
    # Ten positions learnt by heart and charged again for nothing: the mean falls, the sum does not.
    printed = LN_V * 100 / 110
    assert noise_bound(run(AGAIN, [], printed)).ln_e == pytest.approx(0)
    assert noise_bound(run(AGAIN, [], 0.5)).ln_e == pytest.approx(100 * LN_V - 110 * 0.5)
    # A whole second pass, of which the printed mean is, is not shown by this bound.
    assert noise_bound(run([*ONCE, *ONCE], [], 0.6 * LN_V)).ln_e < 0
