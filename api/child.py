"""`python -m api.child`: one audit in a process of its own, told and answered in lines of JSON.

The worker that started it can end it at any moment, and the sandbox ends with it. When the worker
itself dies, the pipe on standard input closes and this process ends too.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from api.checked import read_checked
from auditor.audit import Plan, Progress, audit
from auditor.errors import AuditorError, SubmissionError
from auditor.report.json_v1 import verdict_to_json
from auditor.rulesets import RULESETS
from auditor.submission import Submission
from auditor.verdict import Verdict

Auditing = Callable[[Submission, Plan, Progress], Verdict]


def main(auditing: Auditing = audit) -> int:
    """Read the order, audit, answer."""
    signal.signal(signal.SIGTERM, _stop)
    # Nothing that an import or a library prints may get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_worker, daemon=True).start()

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        document = _audit(order, auditing, lambda doing, done: say(doing=doing, done=done))
    except AuditorError as error:
        kind = "submission" if isinstance(error, SubmissionError) else "tool"
        say(kind=kind, message=str(error))
    except Exception as error:  # noqa: BLE001 - the worker says it; the cause is for the log alone
        sys.stderr.write(f"{order['name'][:80]!r}: {error!r}\n")
        say(kind="internal", message=f"the auditor crashed: {type(error).__name__}")
    else:
        say(document=document)
    return 0


def _audit(order: dict[str, Any], auditing: Auditing, progress: Progress) -> dict[str, Any]:
    data = read_checked(Path(order["blob"]), order["sha256"])
    submission = Submission.from_archive(data, order["name"])
    chosen = order["plan"]
    if "experiments" in chosen:
        chosen = chosen | {"experiments": frozenset(chosen["experiments"])}
    plan = replace(Plan(**chosen), ruleset=RULESETS[order["ruleset"]])
    return verdict_to_json(auditing(submission, plan, progress))


def _stop(_: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that the sandbox is ended on the way out."""
    raise SystemExit(1)


def _end_with_worker() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
