"""A record folder holds what a reader needs to check it.

**Motive.** The challenge asks for one folder with a README, a `submission.json`, the logs of the
runs and a training script that runs. Without them nobody can check a score.

**How it is judged.** `README.md`, `submission.json` (one JSON object) and the training script
(`train_gpt.py`, or the only Python file) must stand at the top of the folder, and at least one text
file of it must state scores as a run log does. FAIL means *incomplete*, not invalid: each missing
thing is one finding, and adding it mends the submission.

A script under another name among several Python files is INCONCLUSIVE, not missing.

**Violates:** #529, without submission.json. **Innocent:** #1493.

**How it can be wrong.** A log that never says "bpb", or that has another ending than .log or .txt,
counts as missing. Whether the script runs is not tried here.
"""

from auditor.evidence import Evidence, PackageFiles
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
    passed,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Every missing or unreadable thing is a finding."""
    package = evidence.get(PackageFiles)
    if package is None:
        return inconclusive(evidence.why_not(PackageFiles))
    expected = (
        (package.readme, "README.md", "a description of the submission"),
        (package.submission_json, "submission.json", "one JSON object with the claims"),
        (package.entry, "train_gpt.py", "the training script, at the top of the folder"),
        (package.logs, "train.log", "at least one log of a run, with its scores (.log or .txt)"),
    )
    findings = [
        Finding(f"{name} is missing: expected {what}", Location(file=name), {"missing": name})
        for there, name, what in expected
        if not there
    ]
    findings += [
        Finding(problem, Location(file=problem.split(":", 1)[0]), {"problem": problem})
        for problem in package.problems
    ]
    if package.entry is None and package.scripts and len(findings) == 1:
        return inconclusive(
            "there is no train_gpt.py; which of the other scripts is the training script is not "
            f"known: {', '.join(package.scripts)}",
            findings,
            Strength.SOURCE,
        )
    if findings and package.unread:
        path, why = next(iter(package.unread.items()))
        return inconclusive(
            f"of the files in the folder {len(package.unread)} could not be read: {path}, {why}",
            findings,
            Strength.SOURCE,
        )
    if findings:
        return failed(Strength.SOURCE, findings, "the folder is incomplete")
    return passed(
        Strength.SOURCE,
        f"{package.readme}, {package.submission_json}, {package.entry} and "
        f"{len(package.logs)} run log(s) are there",
    )


RULE = Rule(
    id="packaging",
    title="README, claims, script and logs are in the folder",
    authority="official",
    needs=(PackageFiles,),
    check=check,
    matters="Without the README, the claims, the script and the logs nobody can check a score.",
    mend="Add the missing file to the top of the record folder.",
    documentation=__doc__ or "",
)
