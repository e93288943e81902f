"""The audit of a change: a verdict for every record, answers about the change, what is accepted.

The engine is that of `auditor audit`, so a verdict has the digest that it has everywhere. What is
accepted is said beside it, and only moves the outcome of the change.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from auditor.audit import Plan, Progress
from auditor.change_rules import NEW, Facts, judge_change
from auditor.corpus import Bounds, Task, audit_folders, audit_task
from auditor.errors import AuditorError, SubmissionError
from auditor.evidence import PriorRecord
from auditor.gate import Change, ChangeSet
from auditor.gate_config import GateConfig, Leader, parse_leaderboard, read_file
from auditor.inspect import inspect
from auditor.report.entries import GATE_SCHEMA, Acceptance, Seen, findings, worst
from auditor.report.json_v1 import plain, result_to_json
from auditor.rules import significance
from auditor.submission import Submission
from auditor.verdict import Judgement, inconclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of the audit of a change."""

    bounds: Bounds
    config: GateConfig
    leaders: Sequence[Leader] | None = None
    today: datetime.date


def read_leaders(repository: Path, base: str, config: GateConfig) -> Sequence[Leader] | None:
    """The leaderboard that a configuration names, from the base of the change."""
    if config.leaderboard is None:
        return None
    data = read_file(repository, base, config.leaderboard)
    if data is None:
        raise SubmissionError(f"{config.leaderboard}: expected a file in {base[:12]}, found none")
    return parse_leaderboard(data, config.leaderboard)


def audit_change(
    repository: Path,
    base: str,
    change: ChangeSet,
    asked: Asked,
    progress: Progress = lambda doing, done: None,
) -> dict[str, Any]:
    """The gate document; see gate-v1.schema.json.

    `base` is the commit whose records are there to compare with. A record that cannot be audited
    has an error in the place of a verdict, and stops no other.
    """
    records, claims, against = [], {}, {}
    facts = Facts(records=change.records, others=change.others, leaders=asked.leaders)
    lines = _lines(repository, change, asked.bounds, progress)
    for one in change.records:
        record, submission = _record(repository, change.head, one, asked, lines.get(one.folder))
        records.append(record)
        if record["verdict"] is not None:
            said = record["verdict"]["submission"]["claims"]
            claims[one.folder] = said["val_bpb"] if said is not None else None
        leader = facts.leader(one.folder) if one.kind in NEW else None
        if leader is not None and submission is not None:
            against[one.folder] = _against(repository, base, leader, submission, asked.bounds.plan)
    facts = replace(facts, claims=claims, against_leader=against)
    judged = judge_change(facts) if asked.config.change_rules else ()
    results = plain([result_to_json(result) for result in judged])
    accepted = asked.config.acceptances(findings(results, "", {}), None, asked.today)
    outcomes = [outcome_after(results, findings(results, "", accepted))]
    outcomes += [record["outcome"] for record in records if record["outcome"] is not None]
    document: dict[str, Any] = plain(
        {
            "schema": GATE_SCHEMA,
            "base": base,
            "start": change.start,
            "head": change.head,
            "outcome": worst(outcomes),
            "results": results,
            "accepted": _stored(accepted),
            "records": records,
        }
    )
    return document


def _lines(
    repository: Path, change: ChangeSet, bounds: Bounds, progress: Progress
) -> dict[str, dict[str, Any]]:
    """What a sweep writes of each folder; one alone is not worth another process."""
    tasks = [
        Task(change.head, None, change.head, one.folder)
        for one in change.records
        if not one.deleted and one.problem is None
    ]
    if len(tasks) == 1:
        return {tasks[0].folder: audit_task(str(repository), tasks[0], bounds, progress)}
    lines: dict[str, dict[str, Any]] = {}
    for line in audit_folders(repository, tasks, bounds):
        lines[line["folder"]] = line
        progress(f"{len(lines)} of {len(tasks)} records", len(lines) / len(tasks))
    return lines


def _record(
    repository: Path, head: str, change: Change, asked: Asked, line: Mapping[str, Any] | None
) -> tuple[dict[str, Any], Submission | None]:
    """One record of the document, and the submission where it was audited."""
    record: dict[str, Any] = {
        "folder": change.folder,
        "change": change.kind,
        "origin": change.origin,
        "outcome": None if change.deleted else "inconclusive",
        "error": change.problem,
        "verdict": None,
        "accepted": [],
    }
    if line is None:
        return record, None
    if line["verdict"] is None:
        return {**record, "error": line["error"]["message"]}, None
    submission, verdict = Submission.from_git(repository, head, change.folder), line["verdict"]
    # The folder is for people and in no digest; a change is read by whoever knows the repository.
    verdict["submission"]["folder"] = plain(change.folder)
    found = findings(verdict["results"], change.folder, {})
    accepted = asked.config.acceptances(found, submission, asked.today)
    outcome = verdict["outcome"]
    if any(one.counts for one in accepted.values()):
        outcome = outcome_after(
            verdict["results"], findings(verdict["results"], change.folder, accepted)
        )
    whole = {"outcome": outcome, "verdict": verdict, "accepted": _stored(accepted)}
    return {**record, **whole}, submission


def outcome_after(results: Sequence[Mapping[str, Any]], found: Sequence[Seen]) -> str:
    """The outcome without the rules all of whose findings are accepted."""
    outcomes = []
    for result in results:
        mine = [seen.accepted for seen in found if seen.rule == result["rule"]]
        if not mine or not all(one is not None and one.counts for one in mine):
            outcomes.append(result["outcome"])
    return worst(outcomes)


def _against(
    repository: Path, base: str, leader: Leader, submission: Submission, plan: Plan
) -> Judgement:
    """What `significance` says of a new record, asked beside its verdict, whose digest it keeps."""
    try:
        earlier = inspect(Submission.from_git(repository, base, leader.folder))
        evidence = inspect(submission)
    except AuditorError as error:
        return inconclusive(f"{leader.folder}, the best of the track, cannot be read: {error}")
    scores = significance.final_scores(earlier)
    evidence.add(PriorRecord(name=leader.folder.rpartition("/")[2], scores=scores))
    return significance.check(evidence, plan.ruleset)


def _stored(accepted: Mapping[str, Acceptance]) -> list[dict[str, Any]]:
    return [{"finding": key, **asdict(one)} for key, one in sorted(accepted.items())]
