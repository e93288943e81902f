"""The claimed line of several runs against the charges that were seen in them."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from auditor.evidence import ClaimedNumbers, Evidence, PrintedScore, PrintedScores
from auditor.rules.printed import not_what_was_charged

NOISE = 5.95064
PLACE = "train_gpt.py:90"


def run(source: str, val_loss: float, charged: float | None, bpb: float = 2.0) -> PrintedScore:
    return PrintedScore(
        source=source,
        label="final_ttt_exact",
        val_loss=round(val_loss, 8),
        val_bpb=bpb,
        decimals=8,
        source_nats=NOISE if source == "uniform" else None,
        opened=True,
        charged_nats={} if charged is None else {PLACE: charged},
    )


def found(*runs: PrintedScore, claim: float = 2.0) -> str | None:
    evidence = Evidence()
    evidence.add(PrintedScores(runs=runs))
    claims = ClaimedNumbers(
        file="submission.json", val_bpb=claim, seed_val_bpb={}, seed_bytes={}, bytes_total=None
    )
    evidence.add(claims)
    finding = not_what_was_charged(evidence)
    return None if finding is None else finding.message


def test_a_share_of_the_charges_on_noise_and_text_is_found_with_both_numbers():
    said = found(run("uniform", 0.9 * 5.9513, 5.9513), run("text", 0.9 * 4.1, 4.1))
    assert said is not None
    assert "prints 0.900000 times what it charges" in said
    assert "5.35617 for 5.95130000 on uniform, 3.69 for 4.10000000 on text" in said
    assert "within 2e-06" in said


def test_a_distance_below_the_charges_is_found():
    said = found(run("uniform", 5.9513 - 0.3, 5.9513), run("text", 4.1 - 0.3, 4.1))
    assert said is not None
    assert "prints 0.300000 nats less than what it charges" in said


def test_the_same_number_for_other_text_is_found():
    said = found(run("uniform", 1.8, 5.9513), run("text", 1.8, 4.1))
    assert said is not None
    assert "the number does not come from the text" in said


def test_a_number_that_looks_honest_on_noise_is_found_on_text():
    """It knows that it is watched, and prints what noise costs."""
    said = found(run("uniform", 5.9507, 5.9513), run("text", 5.9507, 4.1))
    assert said is not None
    assert "seen being charged were 5.951300, 4.100000 nats" in said


def test_equal_chances_and_a_floor_out_of_sight_are_innocent():
    for nats in (math.log(384), math.log(512), -math.log(1e-12)):
        assert found(run("uniform", nats, 5.9513), run("text", nats, 4.1)) is None


def test_where_no_charge_was_seen_the_number_must_be_the_claim():
    silent = run("uniform", 1.8, None), run("text", 1.8, None)
    assert found(*silent) is not None
    assert found(*silent, claim=1.9) is None  # an earlier record's, printed for comparison
    assert found(*(replace(one, opened=False) for one in silent)) is None  # a rehearsal


def test_one_run_decides_nothing():
    assert found(run("uniform", 0.9 * 5.9513, 5.9513)) is None
    assert found(run("uniform", 1.8, None), run("uniform", 1.8, None)) is None


def test_the_printed_score_of_an_honest_run_stands_beside_its_charges():
    assert found(run("uniform", 5.9513, 5.9513), run("text", 4.1, 4.1)) is None
    # Sums in float32, and a network that knows nothing of either text.
    assert found(run("uniform", NOISE, NOISE), run("text", NOISE, NOISE)) is None


def test_bits_that_are_turned_into_nats_out_of_sight_are_innocent():
    runs = [run(s, nats, nats / math.log(2)) for s, nats in (("uniform", 5.9513), ("text", 4.1))]
    assert found(*runs) is None


def test_a_counting_slip_is_no_forgery():
    runs = [run(s, 0.995 * nats, nats) for s, nats in (("uniform", 5.9513), ("text", 4.1))]
    assert found(*runs) is None


def test_a_number_of_few_digits_says_nothing():
    runs = [replace(run(s, 1.8, None), decimals=2) for s in ("uniform", "text")]
    assert found(*runs) is None


@given(
    noise=st.floats(0.5, 7.0),
    text=st.floats(0.5, 7.0),
    alone_on_noise=st.floats(5.9507, 7.0),
    alone_on_text=st.floats(0.5, 7.0),
)
def test_a_mixture_out_of_sight_is_never_taken_for_a_forgery(
    noise, text, alone_on_noise, alone_on_text
):
    """Whatever the network and the mixture lose, unless the relation is exact by construction."""
    runs = run("uniform", noise, alone_on_noise), run("text", text, alone_on_text)
    share = noise / alone_on_noise - text / alone_on_text
    below = (alone_on_noise - noise) - (alone_on_text - text)
    if min(abs(share), abs(below), abs(noise - text)) > 1e-4:
        assert found(*runs) is None
