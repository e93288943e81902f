"""Rules that logs decide: time, coverage, seeds, overlap, gates, significance."""

import time

import pytest

from auditor.audit import Plan, audit
from auditor.rules import (
    full_coverage,
    seeds,
    significance,
    strict_prefix,
    time_budget,
    train_val_overlap,
)
from auditor.rulesets import MARCH, MAY
from auditor.verdict import Judgement, Outcome, Rule
from tests.auditor.inspect.records import claims, honest, judge, log, submission

STOP = "stopping_early: wallclock_cap train_time:{ms}ms step:7000/20000\n"
CALIBRATION = "gptq:calibrating with training data...\ngptq:calibrated 68 layers in {seconds}s\n"
SCORES = {1337: 1.12034567, 42: 1.12134567, 2024: 1.12234567}


def with_lines(*lines: str, **more: str | None) -> dict[str, str | bytes | None]:
    """An honest record, its logs begun with these lines."""
    files = honest(**more)
    for name, text in files.items():
        if name.endswith(".log"):
            files[name] = "".join(lines) + str(text)
    return files


def stopped(ms: int, calibration: float | None = None) -> dict[str, str | bytes | None]:
    lines = [STOP.format(ms=ms)]
    if calibration is not None:
        lines.append(CALIBRATION.format(seconds=calibration))
    return with_lines(*lines)


@pytest.mark.parametrize(
    ("ms", "calibration", "outcome"),
    [
        (599_950, None, Outcome.PASS),
        (600_900, None, Outcome.PASS),  # a step over the limit
        (601_153, None, Outcome.FAIL),
        (588_100, 11.3, Outcome.PASS),  # seconds were kept back for it
        (600_024, 3.6, Outcome.FAIL),  # the whole budget, and then training data
        (599_600, 4.9, Outcome.INCONCLUSIVE),  # closed in March, accepted in April
        (599_600, 12.0, Outcome.FAIL),
    ],
)
def test_time_of_training_and_calibration(ms, calibration, outcome):
    assert judge(time_budget.RULE, stopped(ms, calibration)).outcome is outcome


UNTIMED = "gptq:calibrating with 256 batches...\ngptq:collected hessians for 68 layers\n"
TIMED = "gptq:loop-aware calibrated 41 layers in {seconds}s\n"
FROM = """
def main(args):
    loader = Loader(args.{files})
    log0("gptq:calibrating with 256 batches...")
    hessians = collect_hessians(model, loader, args)
"""
AND_OWN_TEXT = """
    more = collect_hessians(model, written_by(model), args)
"""


@pytest.mark.parametrize(
    ("ms", "line", "source", "outcome"),
    [
        (600_074, UNTIMED, FROM.format(files="train_files"), Outcome.FAIL),
        (600_074, UNTIMED, FROM.format(files="own_text"), Outcome.PASS),
        (600_074, UNTIMED, FROM.format(files="train_files") + AND_OWN_TEXT, Outcome.PASS),
        (600_074, "", FROM.format(files="train_files"), Outcome.PASS),  # it was switched off
        (599_074, UNTIMED, FROM.format(files="train_files"), Outcome.PASS),  # as long as it took
        (600_074, TIMED.format(seconds=11.3), FROM.format(files="train_files"), Outcome.FAIL),
        (590_074, TIMED.format(seconds=9.3), FROM.format(files="train_files"), Outcome.PASS),
    ],
)
def test_the_source_says_what_a_calibration_is_given(ms, line, source, outcome):
    files = with_lines(STOP.format(ms=ms), line) | {"train_gpt.py": source}
    judged = judge(time_budget.RULE, files)
    assert judged.outcome is outcome
    if outcome is Outcome.FAIL:
        assert "(as the source has it)" in judged.findings[0].message
        assert judged.findings[-1].location.line == 5


def test_both_numbers_and_the_line_of_a_clock_that_is_over():
    (finding, *_) = judge(time_budget.RULE, stopped(600_024, 3.6)).findings
    assert "600.024 s" in finding.message
    assert "603.6 s; the limit is 600 s" in finding.message
    assert finding.location.line == 3


def test_an_evaluation_over_the_limit_fails_and_a_second_one_mends_it():
    slow = {
        name: str(text).replace("eval_time:1000ms", "eval_time:616000ms")
        for name, text in with_lines(STOP.format(ms=599_000)).items()
    }
    assert judge(time_budget.RULE, {**slow}).outcome is Outcome.FAIL
    again = {f"again_{name}": text for name, text in stopped(599_000).items() if "log" in name}
    assert judge(time_budget.RULE, {**slow, **again}).outcome is Outcome.PASS


def test_other_machines_and_the_other_track_are_not_judged_by_600_seconds():
    gpu = "|   0  NVIDIA A100-SXM4-80GB          On  |   00000000:18:00.0 Off |    0 |\n"
    files = with_lines(gpu, STOP.format(ms=900_000))
    assert judge(time_budget.RULE, files).outcome is Outcome.INCONCLUSIVE
    other = with_lines(
        STOP.format(ms=900_000), submission_json=claims(SCORES, track="non-record-16mb")
    )
    assert judge(time_budget.RULE, other).outcome is Outcome.NOT_APPLICABLE
    assert judge(seeds.RULE, other).outcome is Outcome.NOT_APPLICABLE


def test_march_refused_what_was_accepted_later():
    def judged(ruleset):
        made = submission(stopped(599_600, 4.9))
        return audit(made, Plan(ruleset=ruleset)).result("time-budget").outcome

    assert [judged(MARCH), judged(MAY)] == [Outcome.FAIL, Outcome.INCONCLUSIVE]


def test_the_whole_split_passes_and_a_part_of_it_fails():
    assert judge(full_coverage.RULE, honest()).outcome is Outcome.PASS

    def part(tokens: int, size: int, track: str = "record") -> Judgement:
        files = honest(submission_json=claims(SCORES, track=track))
        for seed, score in SCORES.items():
            files[f"train_seed{seed}.log"] = log(score, seed=seed, tokens=tokens, size=size)
        return judge(full_coverage.RULE, files)

    failed = part(9_662_464, 29_950_000)
    assert failed.outcome is Outcome.FAIL
    assert "29.95 M bytes; the split has 151.09 M" in failed.findings[0].message
    proxy = part(9_662_464, 29_950_000, track="non-record-16mb")
    assert proxy.outcome is Outcome.INCONCLUSIVE
    # Another tokenizer of the whole text.
    assert part(50_000_000, 151_080_000).outcome is Outcome.INCONCLUSIVE


def test_the_fingerprint_of_shared_documents_is_shown_and_proves_nothing():
    def shards(count: int, tokens: int) -> Outcome:
        files = honest()
        for seed, score in SCORES.items():
            text = log(score, seed=seed, tokens=tokens)
            files[f"train_seed{seed}.log"] = f"train_shards: {count}\n{text}"
        return judge(train_val_overlap.RULE, files).outcome

    assert shards(1_499, 47_851_520) is Outcome.INCONCLUSIVE
    assert shards(80, 47_851_520) is Outcome.NOT_APPLICABLE
    assert shards(1_499, 9_662_464) is Outcome.NOT_APPLICABLE


def settings(**changes: object) -> str:
    values = {f"setting_{number}": number for number in range(14)} | changes
    return "".join(f"  {name}: {value}\n" for name, value in values.items())


def test_three_seeds_of_one_configuration_pass():
    files = honest()
    for number, name in enumerate(name for name in files if name.endswith(".log")):
        files[name] = settings(run_id=number, logfile=f"logs/{number}") + str(files[name])
    assert judge(seeds.RULE, files).outcome is Outcome.PASS
    files["train_seed42.log"] = settings(setting_3=99) + str(honest()["train_seed42.log"])
    failed = judge(seeds.RULE, files)
    assert failed.outcome is Outcome.FAIL
    assert "setting_3 is 3 in" in failed.findings[0].message
    # A fourth run that belongs to the others mends it; so does a log without settings.
    fourth = files | {"train_seed7.log": settings() + log(1.121, seed=7)}
    assert judge(seeds.RULE, fourth).outcome is Outcome.PASS
    silent = files | {"train_seed2024.log": honest()["train_seed2024.log"]}
    assert judge(seeds.RULE, silent).outcome is Outcome.PASS


def test_one_seed_decides_nothing():
    files = {
        "README.md": honest()["README.md"],
        "submission.json": claims({1337: 1.12}),
        "train.log": log(1.12),
    }
    assert judge(seeds.RULE, files).outcome is Outcome.INCONCLUSIVE


OPEN = "hints within_gate=9866847 word_gate=2891588 agree2plus=303177\n"
CLOSED = "hints within_gate=0 word_gate=0 agree2plus=0\n"
GATE = """
for (i = 0; i < n; ++i) {
    const uint16_t tok = tokens[%s];
    const uint8_t is_boundary = boundary_lut[tok];
    if (!is_boundary && st->within_len > 0U) {
        within_valid[i] = 1U;
    }
}
"""


@pytest.mark.parametrize(
    ("line", "helper", "outcome"),
    [
        (OPEN, GATE % "i", Outcome.FAIL),
        (CLOSED, GATE % "i", Outcome.INCONCLUSIVE),
        ("", GATE % "i", Outcome.INCONCLUSIVE),
        (OPEN, GATE % "before", Outcome.INCONCLUSIVE),  # the token before asks for nothing new
        (OPEN, "/*" + GATE % "i" + "*/", Outcome.INCONCLUSIVE),  # it was taken out
        (OPEN, None, Outcome.INCONCLUSIVE),  # a counter of that name proves nothing
    ],
)
def test_gates_that_look_at_the_answer(line, helper, outcome):
    judged = judge(strict_prefix.RULE, with_lines(line) | {"state.c": helper})
    assert judged.outcome is outcome
    if outcome is Outcome.FAIL:
        assert judged.findings[0].location.line == 5
        assert "within_gate at 9,866,847 positions" in judged.findings[1].message


KERNEL = """
import triton
import triton.language as tl

@triton.jit
def gates(tokens_ptr, boundary_ptr, valid_ptr, n, SIZE: tl.constexpr):
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    before = i - 1
    tok = tl.load(tokens_ptr + %s, mask=i < n)
    starts = tl.load(boundary_ptr + tok, mask=i < n)
    tl.store(valid_ptr + i, (starts == 0).to(tl.int32), mask=i < n)
"""
INLINE = """
import torch
from torch.utils.cpp_extension import load_inline

SOURCE = r'''%s// %s'''
gates = load_inline("gates", cpp_sources=[SOURCE])
"""


@pytest.mark.parametrize(
    ("line", "script", "at", "outcome"),
    [
        (OPEN, KERNEL % "i", 11, Outcome.FAIL),
        (OPEN, KERNEL % "before", None, Outcome.INCONCLUSIVE),
        (CLOSED, KERNEL % "i", None, Outcome.INCONCLUSIVE),
        (OPEN, INLINE % (GATE % "i", "-" * 200), 9, Outcome.FAIL),
        (OPEN, INLINE % (GATE % "before", "-" * 200), None, Outcome.INCONCLUSIVE),
        (OPEN, INLINE % ("", GATE.replace("\n", " ") % "i"), None, Outcome.INCONCLUSIVE),
    ],
    ids=["kernel", "of the one before", "closed", "text", "text of the one before", "comment"],
)
def test_gates_of_kernels_and_of_sources_in_a_text(line, script, at, outcome):
    judged = judge(strict_prefix.RULE, with_lines(line, train_gpt_py=script))
    assert judged.outcome is outcome
    if outcome is Outcome.FAIL:
        assert (judged.findings[0].location.file, judged.findings[0].location.line) == (
            "train_gpt.py",
            at,
        )


GIVER = """
struct Mixer {
    void within_hint(bool starts, int& hint, double& weight) {
        /* nothing inside a word */
        if (starts || within_len_ == 0) { hint = -1; weight = 0.0; return; }
        int found; double share;
        look_up(within_hash_, found, share);
        if (found >= 0 && share >= within_threshold_) { hint = found; weight = within_beta_; }
    }
    void hints(const int64_t* pos, int n, int32_t* out) {
        for (int i = 0; i < n; i++) {
            int64_t p = pos[i];
            auto tok = uint16_t(tokens_[p]);
            auto last = uint16_t(tokens_[before]);
            bool starts = has_leading_space_ && has_leading_space_[%s];
            int hint; double weight;
            %s
            out[i] = hint;
        }
    }
};
"""
CALLED, LEARNS = "within_hint(starts, hint, weight);", "within_update(tok);"
IN_ORDER = CALLED + LEARNS


def printed(beta="0.92", threshold="0.25"):
    lines = [f"setting_{number}: {number}" for number in range(12)]
    return "\n".join([*lines, f"ngram_within_beta: {beta}", f"within_threshold: {threshold}", ""])


@pytest.mark.parametrize(
    ("token", "body", "lines", "outcome"),
    [
        ("tok", IN_ORDER, printed(), Outcome.FAIL),
        ("last", IN_ORDER, printed(), Outcome.INCONCLUSIVE),  # of the token before
        ("tok", LEARNS + CALLED, printed(), Outcome.INCONCLUSIVE),  # of the token before, then
        ("tok", "// " + IN_ORDER, printed(), Outcome.INCONCLUSIVE),
        ("tok", IN_ORDER, printed(beta="0.0"), Outcome.INCONCLUSIVE),
        ("tok", IN_ORDER, printed(threshold="2.0"), Outcome.INCONCLUSIVE),  # no share is as large
        ("tok", IN_ORDER, "", Outcome.INCONCLUSIVE),  # nobody says how much it weighs
    ],
)
def test_hints_given_by_the_kind_of_the_token_that_they_are_for(token, body, lines, outcome):
    judged = judge(strict_prefix.RULE, with_lines(lines) | {"mixer.cpp": GIVER % (token, body)})
    assert judged.outcome is outcome
    if outcome is Outcome.FAIL:
        assert judged.findings[0].location.line == 17
        assert "ngram_within_beta is 0.92" in judged.findings[1].message


def test_a_helper_written_to_be_slow_is_read_in_time():
    files = with_lines(OPEN) | {
        "a.cpp": "f(int& a) {" * 20_000,
        "b.cpp": "update" * 30_000 + "/*" * 50_000,
        "c.cpp": GIVER * 500,
        "d.cpp": "boundary" * 20_000 + "if (" * 20_000,
    }
    started = time.process_time()
    judge(strict_prefix.RULE, files)
    assert time.process_time() - started < 5


def test_gates_closed_in_one_of_the_claimed_runs_decide_nothing():
    files = with_lines("hints within_gate=9866847 word_gate=0 agree2plus=0\n")
    files["state.c"] = GATE % "i"
    files["train_seed42.log"] = "hints within_gate=0 word_gate=0 agree2plus=0\n" + str(
        honest()["train_seed42.log"]
    )
    assert judge(strict_prefix.RULE, files).outcome is Outcome.INCONCLUSIVE


def compared(rule: Rule, shift: float) -> Judgement:
    earlier = {seed: score + shift for seed, score in SCORES.items()}
    files = honest(submission_json=claims(earlier))
    for seed, score in earlier.items():
        files[f"train_seed{seed}.log"] = log(score, seed=seed)
    verdict = audit(submission(honest()), Plan(against=submission(files)))
    result = verdict.result(rule.id)
    return Judgement(result.outcome, result.strength, result.reason, result.findings)


def test_a_clear_gain_passes_a_small_one_is_open_and_none_fails():
    assert judge(significance.RULE, honest()).outcome is Outcome.NOT_APPLICABLE
    clear = compared(significance.RULE, 0.01)
    assert clear.outcome is Outcome.PASS
    assert "0.01000 bpb" in (clear.reason or "")
    assert compared(significance.RULE, 0.002).outcome is Outcome.INCONCLUSIVE
    assert compared(significance.RULE, 0.0).outcome is Outcome.FAIL
