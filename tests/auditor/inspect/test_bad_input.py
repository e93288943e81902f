"""Whole folders written to be slow, large or not text: bounded time, a verdict, no traceback."""

import time

import pytest

from auditor.audit import audit
from auditor.verdict import Outcome
from tests.auditor.inspect.records import honest, log, submission

STEP = "step:5/20000 val_loss:2.1234 val_bpb:1.2345 train_time:1ms\n"


def with_log(begins: str | bytes) -> dict[str, str | bytes | None]:
    start = begins if isinstance(begins, bytes) else begins.encode()
    return honest() | {"train_seed42.log": start + log(1.12134567, seed=42).encode()}


@pytest.mark.parametrize(
    "files",
    [
        with_log("\n" * 200_000),
        with_log((" " * 99 + "\n") * 20_000),
        with_log("x" * 10_000_000 + "\n"),
        with_log(STEP * 8_000),
        with_log(b"\xff\xfe\x80" * 100_000 + b"\n"),
        with_log("".join(f"  setting_{number}: 1\n" for number in range(8_000))),
        honest(train_gpt_py=bytes(range(256)) * 4_000),
        honest(train_gpt_py="print(1)\n".encode("utf-16")),
        honest(train_gpt_py="x = [" + "[" * 90_000),
        honest(train_gpt_py="x = '''{" + "\n" * 190_000 + "'''"),
        honest(train_gpt_py="x = '''{" + "if (a" * 38_000 + "'''"),
        honest(README_md="torchrun " * 40_000),
        honest(README_md="\n" * 300_000),
        honest(submission_json="[" * 200_000),
        honest(submission_json="{" + ",".join(f'"seed_{n}": {n}' for n in range(10_000)) + "}"),
        honest(helper_c="tokens[" * 60_000, state_cu="/*" * 90_000),
    ],
    ids=[
        "empty lines",
        "blanks",
        "one line",
        "scores",
        "no text",
        "settings",
        "binary script",
        "another encoding",
        "brackets",
        "empty lines of a text",
        "a text like a helper",
        "run lines",
        "empty README",
        "deep claims",
        "many claims",
        "helpers",
    ],
)
def test_a_folder_written_to_be_slow_has_its_verdict_in_time(files):
    started = time.process_time()
    verdict = audit(submission(files))
    assert time.process_time() - started < 5
    assert verdict.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)
