"""Which mechanisms of a log a run left out."""

from auditor.run.claimed import Claimed
from auditor.run.exercised import compare

CLAIMED = Claimed(stages=frozenset({"final_int_ttt"}))

LOG = """\
    log0(f"ttt_echo_of_the_source:{x}")
val_loader:shards pattern=x tokens:100
step:10/10 val_loss:2.0 val_bpb:1.2
ttt:start chunks=60 lr=3e-05
  ttt_chunk [1/60] bpb=1.149861 time=5.6s
ngram_cache:enabled orders=2-7
final_int6_ttt_exact val_loss:1.12504361 val_bpb:0.66631420
"""


def test_a_run_that_prints_the_same_kinds_left_nothing_out():
    ran = (
        "ttt:start chunks=3 lr=1\n  ttt_chunk [3/3] bpb=9.1 time=0s\n"
        "ngram_cache:enabled orders=2\nfinal_int6_ttt_exact val_loss:1.0 val_bpb:2.0\n"
    )
    assert compare({"train.log": LOG}, ran, CLAIMED).missing == ()


def test_what_the_run_does_not_speak_of_is_missing_with_its_place():
    ran = "ttt:start chunks=3 lr=1\n  ttt_chunk [3/3] bpb=9.1\nfinal_int6_ttt_exact val_loss:1.0\n"
    assert compare({"train.log": LOG}, ran, CLAIMED).missing == (
        "`ngram_cache:enabled orders` (train.log:6)",
    )


def test_a_switch_that_is_printed_is_not_the_mechanism():
    ran = "ttt_enabled:0\n"
    assert len(compare({"train.log": LOG}, ran, CLAIMED).missing) == 4


def test_source_that_a_log_echoes_before_the_run_does_not_count():
    assert not any("echo" in kind for kind in compare({"train.log": LOG}, "", CLAIMED).mechanisms)


def test_a_log_that_is_no_run_asks_for_nothing():
    assert compare({"notes.txt": "ttt:start\n"}, "", CLAIMED).mechanisms == ()
