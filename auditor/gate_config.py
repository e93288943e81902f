"""What a repository asks of its gate: `.strict-prefix.toml`, read from the base of a change.

A change cannot edit the copy that it is judged by. The file says which findings are accepted:

    fail-on = "fail"                  # or "inconclusive"
    ruleset = "2026-05-02"
    leaderboard = "leaderboard.json"  # a path in the repository, read from the base too
    change-rules = true               # judge the change itself
    count-comments = false            # whether comments in a record's source accept its findings

    [[accept]]
    finding = "0123456789abcdef0123456789abcdef"    # the fingerprint that reports show
    rule = "claims-match"
    reason = "rounded in the table, see the discussion"
    until = 2026-12-31
"""

import datetime
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.errors import SubmissionError
from auditor.git_trees import Trees
from auditor.report.entries import Acceptance, Seen
from auditor.submission import Submission, git

FILE = ".strict-prefix.toml"
MAX_BYTES = 1_000_000
_KEYS = {"fail-on", "ruleset", "leaderboard", "change-rules", "count-comments", "accept"}
_ACCEPT = {"finding", "rule", "reason", "until"}
_COMMENT = re.compile(r"#\s*strict-prefix:\s*accept\s+([\w-]{1,60})\s*(?::|--)\s*(\S.{0,400})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One entry of the baseline."""

    finding: str
    rule: str
    reason: str
    until: datetime.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """One record of the leaderboard."""

    folder: str
    val_bpb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """The settings of a gate; without a file all of these."""

    fail_on: str | None = None
    ruleset: str | None = None
    leaderboard: str | None = None
    change_rules: bool = True
    count_comments: bool = False
    accept: tuple[Accepted, ...] = ()

    def acceptances(
        self, found: Sequence[Seen], submission: Submission | None, today: datetime.date
    ) -> dict[str, Acceptance]:
        """Which findings somebody accepts, by fingerprint; an entry that has expired says so."""
        accepted: dict[str, Acceptance] = {}
        for seen in found:
            comment = None if submission is None else _comment(seen, submission)
            if comment is not None:
                accepted[seen.fingerprint] = Acceptance(
                    reason=comment, by="comment", counts=self.count_comments
                )
            for entry in self.accept:
                if (entry.finding, entry.rule) == (seen.fingerprint, seen.rule):
                    accepted[seen.fingerprint] = Acceptance(
                        reason=entry.reason,
                        by="baseline",
                        until=entry.until.isoformat(),
                        counts=today <= entry.until,
                    )
        return accepted


def read_config(repository: Path, commit: str) -> GateConfig:
    """The configuration that stands in a commit; the default where there is none."""
    data = read_file(repository, commit, FILE)
    return GateConfig() if data is None else parse_config(data, f"{FILE} of {commit[:12]}")


def read_file(repository: Path, commit: str, path: str) -> bytes | None:
    """The content of a regular file of a commit; None where there is none."""
    with Trees(repository) as trees:
        item = trees.at(commit, path)
    if item is None or item.mode not in ("100644", "100755"):
        return None
    size = int(git(repository, "cat-file", "-s", item.id))
    if size > MAX_BYTES:
        raise SubmissionError(f"{path}: expected at most {MAX_BYTES:,} bytes, found {size:,}")
    return git(repository, "cat-file", "blob", item.id)


def parse_config(data: bytes, name: str) -> GateConfig:
    """Read a configuration; SubmissionError names the key that is wrong."""
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{name}: expected TOML, but {error}") from error
    _expect_keys(found, _KEYS, name)
    for key, kind in (("change-rules", bool), ("count-comments", bool), ("accept", list)):
        if key in found and not isinstance(found[key], kind):
            raise SubmissionError(f"{name}: {key} must be {kind.__name__}, got {found[key]!r}")
    for key in ("fail-on", "ruleset", "leaderboard"):
        if key in found and not isinstance(found[key], str):
            raise SubmissionError(f"{name}: {key} must be text, got {found[key]!r}")
    if found.get("fail-on", "fail") not in ("fail", "inconclusive"):
        raise SubmissionError(
            f"{name}: fail-on must be 'fail' or 'inconclusive', got {found['fail-on']!r}"
        )
    return GateConfig(
        fail_on=found.get("fail-on"),
        ruleset=found.get("ruleset"),
        leaderboard=found.get("leaderboard"),
        change_rules=found.get("change-rules", True),
        count_comments=found.get("count-comments", False),
        accept=tuple(_accepted(entry, name) for entry in found.get("accept", [])),
    )


def parse_leaderboard(data: bytes, name: str) -> tuple[Leader, ...]:
    """Read {"records": [{"folder": ..., "val_bpb": ...}, ...]}; other keys are ignored."""
    try:
        leaders = tuple(
            Leader(folder=str(row["folder"]).strip("/"), val_bpb=float(row["val_bpb"]))
            for row in json.loads(data)["records"]
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SubmissionError(
            f"{name}: expected JSON with records of folder and val_bpb, but {error!r}"
        ) from error
    for leader in leaders:
        if not (math.isfinite(leader.val_bpb) and leader.val_bpb > 0):
            raise SubmissionError(
                f"{name}: val_bpb of {leader.folder} must be positive, got {leader.val_bpb}"
            )
    return leaders


def _accepted(entry: Any, name: str) -> Accepted:
    where = f"{name}: accept"
    if not isinstance(entry, dict):
        raise SubmissionError(f"{where}: expected tables, got {entry!r}")
    _expect_keys(entry, _ACCEPT, where)
    for key in sorted(_ACCEPT):
        if key not in entry:
            raise SubmissionError(f"{where}: expected {', '.join(sorted(_ACCEPT))}, no {key} found")
    until = entry["until"]
    if not isinstance(until, datetime.date) or isinstance(until, datetime.datetime):
        raise SubmissionError(f"{where}: until must be a date such as 2026-12-31, got {until!r}")
    for key in ("finding", "rule", "reason"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise SubmissionError(f"{where}: {key} must be text, got {entry[key]!r}")
    return Accepted(
        finding=entry["finding"], rule=entry["rule"], reason=entry["reason"], until=until
    )


def _expect_keys(found: Mapping[str, Any], known: set[str], name: str) -> None:
    for key in found:
        if key not in known:
            expected = ", ".join(sorted(known))
            raise SubmissionError(f"{name}: no setting {key!r}; expected one of {expected}")


def _comment(seen: Seen, submission: Submission) -> str | None:
    """The reason of a comment that accepts this rule, on the line of the finding or above it."""
    file = submission.files.get(seen.location["file"] or "")
    line = seen.location["line"]
    if file is None or line is None:
        return None
    lines = file.text.splitlines()
    for at in (line - 1, line - 2):
        found = _COMMENT.search(lines[at][:2_000]) if 0 <= at < len(lines) else None
        if found is not None and found[1] == seen.rule:
            return found[2].strip()
    return None
