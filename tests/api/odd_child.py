"""The process of an audit, which does what the variable ODD says before it audits."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from api.child import main
from auditor.audit import Plan, Progress, audit
from auditor.errors import CannotMeasure, ToolError
from auditor.submission import Submission
from auditor.verdict import Verdict


def odd(submission: Submission, plan: Plan, progress: Progress) -> Verdict:
    what, _, about = os.environ.get("ODD", "").partition(":")
    if what == "hold runs" and plan.run:
        # Held as long as an execution would take, and then only read.
        what, plan = "hold", replace(plan, run=False)
    if what == "hold":
        progress("waiting at the gate", 0.5)
        while not Path(about).exists():
            time.sleep(0.01)
    if what == "tool":
        raise ToolError(about)
    if what == "tool once" and not Path(about).exists():
        Path(about).touch()
        raise ToolError("the disk had a bad moment")
    if what == "crash":
        raise KeyError(about)
    if what == "die":
        os._exit(9)
    if what == "no score":
        patch("auditor.audit._run", _gives_no_score).start()
    return audit(submission, plan, progress)


def _gives_no_score(*_: object) -> tuple[str, ...]:
    raise CannotMeasure("the script did not end within 300 s")


if __name__ == "__main__":
    sys.exit(main(odd))
