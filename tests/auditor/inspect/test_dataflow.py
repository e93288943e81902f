"""Own-written evaluators: some read a table by a key that holds the target, most only look so."""

import contextlib
import textwrap
import time

import pytest

from auditor.errors import CannotMeasure
from auditor.inspect.dataflow import read_data_flow
from auditor.inspect.program import read_program
from tests.auditor.inspect.records import README, claims, log, submission

PRELUDE = """
import math, os
import numpy as np

MASK = 2**20 - 1
PRIME = 131071
ON = os.environ.get("MIX", "1") == "1"
"""
MAIN = """
def main():
    tokens = load()
    mixer = Mixer()
    total = 0.0
    for start in range(0, 100, 10):
        x, y = tokens[start : start + 10], tokens[start + 1 : start + 11]
        {call}
        mixer.update(x, y)
    print(total)

if __name__ == "__main__":
    main()
"""
UPDATE = """
    def update(self, x, y):
        ctx = x * PRIME
        np.add.at(self.pairs, (ctx ^ (y * 31)) & MASK, 1)
        self.pairs[(ctx ^ (y * 31)) & MASK] += 1
"""
HASHED = """
class Mixer:
    def __init__(self):
        self.pairs = np.zeros(MASK + 1)
        self.seen = np.zeros(MASK + 1)

    def score(self, x, y, p):
        ctx = (x * PRIME) & MASK
        key = (ctx ^ (y * 31)) & MASK
        q = self.pairs[key] / np.maximum(self.seen[ctx], 1)
        return -np.log(0.9 * p + 0.1 * q)
"""


def flow(scorer, call="total += mixer.score(x, y, model(x)).sum()", final=0.7, readme=README):
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(scorer) + UPDATE + MAIN.format(call=call)
    files = {
        "README.md": readme,
        "train_gpt.py": script,
        "submission.json": claims({1337: final}),
        "train.log": log(final),
    }
    return read_data_flow(read_program(submission(files)))


def test_a_hashed_pair_read_at_the_target_is_found_and_reached():
    (read,) = flow(HASHED).target_reads
    assert "self.pairs[key]" in read.text
    assert "y * 31" in read.key_text
    assert (read.function, read.reached) == ("score", True)
    assert "below" in read.why


MIXED_IN_A_HELPER = """
def bucket(ctx, token):
    return (ctx * PRIME + token) % (MASK + 1)

class Mixer:
    def score(self, x, y, p):
        return self.charge(self.look_up(x, y), p)

    def look_up(self, x, targets):
        return self.pairs[bucket(x, targets)]

    def charge(self, q, p):
        return -np.log2(p + q)
"""
ONE_BY_ONE = """
class Mixer:
    def score(self, x, y, p):
        nll = 0.0
        for context, target in zip(x, y):
            key = hash((context, target)) & MASK
            q = self.pairs.get(key, 0)
            nll -= math.log(p + q)
        return nll
"""
GATHERED = """
class Mixer:
    def score(self, x, y, p):
        key = ((x * PRIME) ^ y) % MASK
        found = []
        for table in self.tables:
            found.append(table.gather(0, key))
        q = np.stack(found).sum(0)
        return -(p + q).log()
"""


@pytest.mark.parametrize("scorer", [MIXED_IN_A_HELPER, ONE_BY_ONE, GATHERED])
def test_other_forms_of_the_same(scorer):
    assert [read.reached for read in flow(scorer).target_reads] == [True]


LOOK_ALIKES = {
    "probability of the target": """
        class Mixer:
            def score(self, x, y, p):
                return -np.log(p.gather(-1, y)) + cross_entropy(p, y)
        """,
    "bytes of the target": """
        class Mixer:
            def score(self, x, y, p):
                size = BYTES[y] + (SPACE[y] & ~BOUNDARY[x])
                return -np.log(p) / size
        """,
    "hash of the input": """
        class Mixer:
            def score(self, x, y, p):
                pair = (36313 * x[1:] ^ 27191 * x[:-1]) % 4096
                return cross_entropy(model(x, self.table[pair]), y)
        """,
    "row of the vocabulary": """
        class Mixer:
            def score(self, x, y, p):
                row = self.rows[(x * PRIME) & MASK]
                q = row / row.sum(-1, keepdims=True)
                return -np.log(0.9 * p + 0.1 * q[np.arange(len(y)), y])
        """,
    "exact joint address": """
        class Mixer:
            def score(self, x, y, p):
                return -np.log(p + self.joint[x * 1024 + y])
        """,
    "every candidate, normalised": """
        class Mixer:
            def score(self, x, y, p):
                ctx = x * PRIME
                row = np.stack([self.pairs[(ctx ^ (v * 31)) & MASK] for v in range(V)])
                return -np.log(p + (row / row.sum(0))[y])
        """,
    "every candidate, by a function": """
        class Mixer:
            def count(self, x, target):
                return self.pairs[((x * PRIME) ^ (target * 31)) & MASK]

            def score(self, x, y, p):
                total = 0.0
                for v in range(vocab_size):
                    total += self.count(x, v)
                return -np.log(total)
        """,
    "keys that are compared": """
        class Mixer:
            def score(self, x, y, p):
                key = (x * PRIME) ^ (y * 31)
                slot = key & MASK
                hit = self.keys[slot] == key
                return -np.log(p + np.where(hit, self.pairs[slot], 0))
        """,
    "only counted": """
        class Mixer:
            def score(self, x, y, p):
                return -np.log(p[y])
        """,
    "masks of target and context": """
        class Mixer:
            def score(self, x, y, p):
                nll = -np.log(p)
                return nll[(y >= 0) & (x != 1)]
        """,
}


@pytest.mark.parametrize("scorer", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_not_flagged(scorer):
    assert flow(textwrap.dedent(scorer)).target_reads == ()


def test_a_read_normalised_beside_the_sum_is_doubted():
    scorer = """
class Mixer:
    def score(self, x, y, p):
        ctx = x * PRIME
        whole = sum(self.pairs[(ctx ^ (v * 31)) & MASK] for v in range(vocab_size))
        every = self.pairs[(ctx ^ (np.arange(vocab_size) * 31)) & MASK]
        q = self.pairs[(ctx ^ (y * 31)) & MASK] / every.sum()
        return -np.log(p + q)
"""
    assert [read.reached for read in flow(scorer).target_reads] == [None]


GUARDED = "total += mixer.score(x, y, model(x)).sum() if ON else 0"


@pytest.mark.parametrize(
    ("readme", "reached"),
    [
        ("MIX=1 torchrun --nproc_per_node=8 train_gpt.py", True),
        ("torchrun --nproc_per_node=8 train_gpt.py", True),
        ("MIX=0 torchrun --nproc_per_node=8 train_gpt.py", None),  # but the log shows the gain
    ],
)
def test_switches_follow_the_run_line(readme, reached):
    assert [r.reached for r in flow(HASHED, GUARDED, readme=readme).target_reads] == [reached]


def test_a_switch_that_is_off_is_off_when_no_log_says_otherwise():
    readme = "MIX=0 torchrun --nproc_per_node=8 train_gpt.py"
    (read,) = flow(HASHED, GUARDED, final=1.14, readme=readme).target_reads
    assert read.reached is False
    assert "`ON` does not hold" in read.why


def test_a_switch_that_is_off_by_default_is_open_without_a_run_line():
    call = 'total += mixer.score(x, y, model(x)) if os.environ.get("NGRAM", "0") == "1" else 0'
    (read,) = flow(HASHED, call, final=1.14, readme="# no run line").target_reads
    assert read.reached is None


def test_without_a_gain_in_the_log_it_is_open():
    (read,) = flow(HASHED, final=1.14).target_reads
    assert read.reached is None


ONLY_WHERE = """
class Mixer:
    def score(self, x, y, p):
        found = (x > 0)
        if {test}:
            return -np.log(p)
        key = ((x * PRIME) ^ (y * 31)) & MASK
        return -np.log(0.9 * p + 0.1 * self.pairs[key])
"""


@pytest.mark.parametrize(
    ("test", "reached"),
    [
        ("not found.any()", True),
        ("len(x) == 0 or self.rows[0] is None", True),
        ("not (len(x) != 0 and found.any())", True),
        ("found.any()", None),  # the read is where there is nothing
        ("len(x) == 0 and found.any()", None),
        ("self.mixer is None", None),  # may be a setting
        ("p.mean() > 0.5", None),
    ],
)
def test_without_a_log_a_guard_may_only_ask_whether_there_is_anything(test, reached):
    script = textwrap.dedent(PRELUDE) + ONLY_WHERE.format(test=test) + UPDATE
    script += MAIN.format(call="total += mixer.score(x, y, model(x)).sum()")
    files = {"README.md": README, "train_gpt.py": script, "submission.json": claims({1337: 0.7})}
    (read,) = read_data_flow(read_program(submission(files))).target_reads
    assert read.reached is reached


@pytest.mark.parametrize(("claimed", "reached"), [(0.9, True), (1.14, None)])
def test_logs_that_end_elsewhere_speak_when_all_of_them_and_the_claim_gain(claimed, reached):
    files = {
        "README.md": README,
        "train_gpt.py": textwrap.dedent(PRELUDE) + textwrap.dedent(HASHED) + UPDATE
        + MAIN.format(call="total += mixer.score(x, y, model(x)).sum()"),
        "submission.json": claims({1337: claimed}),
        "train.log": log(0.7),
    }  # fmt: skip
    (read,) = read_data_flow(read_program(submission(files))).target_reads
    assert read.reached is reached
    (read,) = read_data_flow(
        read_program(submission({**files, "other.log": log(1.13, seed=7)}))
    ).target_reads
    assert read.reached is None


BY_PLACE = """
class Mixer:
    def keys(self, tokens, start, end):
        hashed = tokens[start - 1 : end - 1] * PRIME
        return (hashed ^ (tokens[start:end] * 31)) & MASK

    def charge(self, tokens, start, end, p):
        return -np.log(0.9 * p + 0.1 * self.pairs[self.keys(tokens, start, end)])
"""


@pytest.mark.parametrize(("final", "reached"), [(0.5, True), (0.95, None), (1.14, None)])
def test_a_target_known_by_its_place_alone_needs_a_gain_that_nothing_else_explains(final, reached):
    call = "total += mixer.charge(tokens, start, start + 10, model(x)).sum()"
    assert [read.reached for read in flow(BY_PLACE, call, final).target_reads] == [reached]


@pytest.mark.parametrize(("claimed", "reached"), [(0.09, True), (0.86, None)])
def test_without_a_log_a_claim_that_nothing_else_explains_is_enough(claimed, reached):
    script = textwrap.dedent(PRELUDE) + ONLY_WHERE.format(test="p.mean() > 0.5") + UPDATE
    script += MAIN.format(call="total += mixer.score(x, y, model(x)).sum()")
    files = {"README.md": README, "train_gpt.py": script, "submission.json": claims({1: claimed})}
    (read,) = read_data_flow(read_program(submission(files))).target_reads
    assert read.reached is reached


def test_code_that_nobody_calls_is_not_reached():
    (read,) = flow(HASHED, call="total += 1", final=1.14).target_reads
    assert read.reached is False


def test_helpers_are_followed():
    files = {
        "README.md": README,
        "train_gpt.py": PRELUDE
        + "from helper import Mixer\n"
        + MAIN.format(call="total += mixer.score(x, y, model(x)).sum()"),
        "helper.py": PRELUDE + HASHED + UPDATE,
        "train.log": log(0.7),
    }
    (read,) = read_data_flow(read_program(submission(files))).target_reads
    assert (read.file, read.reached) == ("helper.py", True)


def test_without_a_script_nobody_could_look():
    with pytest.raises(CannotMeasure, match="no training script"):
        read_program(submission({"README.md": README}))


def test_a_program_written_to_be_slow_ends():
    calls = "\n".join(
        f"def f{i}(x):\n    return f{i + 1}(x ^ {i}) + f{i + 1}(x + y) + f{i + 1}(y)"
        for i in range(60)
    )
    text = f"{calls}\ndef f60(x):\n    return x\nf0(1)\n"
    started = time.process_time()
    with contextlib.suppress(CannotMeasure):
        read_data_flow(read_program(submission({"train_gpt.py": text})))
    assert time.process_time() - started < 5


def test_a_script_that_was_followed_before_is_judged_by_its_own_logs_and_run_lines():
    def answers() -> list[list[bool | None]]:
        flows = flow(HASHED), flow(HASHED, final=1.1), flow(HASHED, readme="")
        return [[read.reached for read in one.target_reads] for one in flows]

    assert answers() == answers() == [[True], [None], [True]]
