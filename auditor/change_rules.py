"""Rules about a change as a whole, judged beside the verdicts of its records.

A change that adds no record is judged by none of them: maintainers may touch what they like. Each
rule is a function whose docstring is its documentation, as those of submissions are modules.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from auditor.gate import Change
from auditor.gate_config import Leader
from auditor.rules import significance
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Result,
    Strength,
    failed,
    inconclusive,
    not_applicable,
    passed,
)

NEW = ("added", "copied")
MOST_FINDINGS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRule:
    """One property of a change that brings a record."""

    id: str
    title: str
    matters: str
    mend: str
    check: "Callable[[Facts], Judgement]"
    authority: str = "official"

    @property
    def documentation(self) -> str:
        """Motive, how it is judged, how the rule can be wrong."""
        return self.check.__doc__ or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a change."""

    records: Sequence[Change]
    others: Sequence[str]
    leaders: Sequence[Leader] | None = None
    """The leaderboard, where one was given."""
    claims: Mapping[str, float | None] = field(default_factory=dict)
    """Claimed bits per byte of each audited record."""
    against_leader: Mapping[str, Judgement] = field(default_factory=dict)
    """What `significance` says of each new record against the best one of its track."""

    @property
    def new(self) -> list[Change]:
        """Records that stand where none stood."""
        return [change for change in self.records if change.kind in NEW]

    def leader(self, folder: str) -> Leader | None:
        """The best record of the same track, other than this one."""
        track = folder.rpartition("/")[0]
        same = [
            leader
            for leader in self.leaders or ()
            if leader.folder != folder and leader.folder.rpartition("/")[0] == track
        ]
        return min(same, key=lambda leader: leader.val_bpb, default=None)


def one_record(facts: Facts) -> Judgement:
    """A submission is one new folder.

    **Motive.** The challenge asks for pull requests that only add a new folder; two records in one
    change cannot be accepted apart.

    **How it is judged.** By the difference of base and head. More than one new record folder fails.

    **Violates:** a change with two new record folders. **Innocent:** a renamed folder, which is not
    new.

    **How it can be wrong.** A folder that is made of folders with scripts of their own counts as
    several records.
    """
    if len(facts.new) == 1:
        return passed(Strength.SOURCE, f"one new record folder, {facts.new[0].folder}")
    message = f"one of {len(facts.new)} new record folders: expected 1"
    findings = [Finding(message, Location(file=one.folder)) for one in facts.new]
    return failed(Strength.SOURCE, _bounded(findings))


def nothing_else(facts: Facts) -> Judgement:
    """A submission touches nothing but its own folder.

    **Motive.** A change that also edits scripts, workflows or the records of others is more than a
    submission, and reviewers who look at the record alone would merge the rest unseen.

    **How it is judged.** By the difference of base and head: any touched path outside the new
    folders fails, also in a record folder that stood before.

    **Violates:** a record that comes with an edited workflow. **Innocent:** a record alone.

    **How it can be wrong.** Some edits are wanted, as a line in the table of the README; accept
    them in the baseline.
    """
    before = [change for change in facts.records if change.kind not in NEW]
    findings = [
        Finding(
            f"the change also has this record folder {change.kind}, which is not new",
            Location(file=change.folder),
        )
        for change in before
    ]
    findings += [
        Finding("the change also touches this file", Location(file=path)) for path in facts.others
    ]
    if not findings:
        return passed(Strength.SOURCE, "nothing outside of the record folder is touched")
    total = f"{len(findings):,} more than the new folder is touched; expected 0"
    return failed(Strength.SOURCE, _bounded(findings), total)


def frontier(facts: Facts) -> Judgement:
    """A new record claims to be better than the best one of its track.

    **Motive.** Only a better score is a record.

    **How it is judged.** The score that `submission.json` claims (strength `claimed`) is compared
    with the least one of the leaderboard file in the same track. Without a leaderboard, or in a
    track that it does not know, the rule does not apply.

    **Violates:** a claim of 1.12 where the leaderboard has 1.08. **Innocent:** a submission to the
    track without records.

    **How it can be wrong.** A leaderboard that is behind its time compares with an older record.
    """
    findings, open_, better = [], [], []
    for change in facts.new:
        leader, claimed = facts.leader(change.folder), facts.claims.get(change.folder)
        if leader is None:
            continue
        if claimed is None:
            open_.append(f"{change.folder} claims no score; the best is {leader.val_bpb}")
        elif claimed < leader.val_bpb:
            better.append(f"{claimed} is claimed, the best before is {leader.val_bpb}")
        else:
            message = (
                f"{claimed} bits per byte are claimed, {claimed - leader.val_bpb:.6f} more "
                f"than the {leader.val_bpb} of {leader.folder}"
            )
            findings.append(Finding(message, Location(file=f"{change.folder}/submission.json")))
    if findings:
        return failed(Strength.CLAIMED, findings)
    if open_:
        return inconclusive("; ".join(open_))
    if not better:
        return not_applicable("no leaderboard was given that knows the track")
    return passed(Strength.CLAIMED, "; ".join(better))


def by_more_than_luck(facts: Facts) -> Judgement:
    """A new record beats the best one of its track by more than luck.

    **Motive.** Seeds scatter; a gain that is smaller than their scatter is no gain.

    **How it is judged.** As `auditor explain significance` says, against the folder at the base
    that the leaderboard names as the best of the track.

    **Violates:** #374, better by less than seeds scatter. **Innocent:** #549 and #1019.

    **How it can be wrong.** As `significance`.
    """
    answers = list(facts.against_leader.items())
    if not answers:
        return not_applicable("no leaderboard was given that knows the track")
    findings = tuple(
        Finding(found.message, _inside(folder, found.location), found.numbers)
        for folder, answer in answers
        for found in answer.findings
    )
    ranks = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.NOT_APPLICABLE)
    worst = min((answer for _, answer in answers), key=lambda a: ranks.index(a.outcome))
    return Judgement(worst.outcome, worst.strength, worst.reason, findings)


CHANGE_RULES = (
    ChangeRule(
        id="one-record",
        title="A submission is one new folder",
        matters="Two records in one change cannot be accepted or refused apart.",
        mend="Open one pull request for each new record folder.",
        check=one_record,
    ),
    ChangeRule(
        id="nothing-else",
        title="A submission touches nothing but its folder",
        matters="What a record brings along is merged with it, and may not be looked at.",
        mend="Leave every file outside the new record folder as it is at the base.",
        check=nothing_else,
    ),
    ChangeRule(
        id="frontier",
        title="A record claims to be better than the best",
        matters="Only a better score is a record.",
        mend="Improve the score, or submit to the track that has no records.",
        check=frontier,
    ),
    ChangeRule(
        id=significance.RULE.id,
        title=significance.RULE.title,
        matters=significance.RULE.matters,
        mend=significance.RULE.mend,
        check=by_more_than_luck,
    ),
)


def judge_change(facts: Facts) -> tuple[Result, ...]:
    """The answer of every rule; none applies to a change without a new record."""
    results = []
    for rule in CHANGE_RULES:
        answer = rule.check(facts) if facts.new else _without_record(rule, facts)
        results.append(
            Result(rule.id, answer.outcome, answer.strength, answer.reason, answer.findings)
        )
    return tuple(results)


def _without_record(rule: ChangeRule, facts: Facts) -> Judgement:
    """What is said of a change that adds no record: only a deletion needs somebody to look."""
    gone = [change for change in facts.records if change.deleted]
    if rule.check is not nothing_else or not gone:
        return not_applicable("the change adds no record folder")
    findings = [Finding("this record is deleted", Location(file=one.folder)) for one in gone]
    return inconclusive(
        f"{len(gone)} records are deleted and none is added: whether they may go is for a person "
        "to say",
        _bounded(findings),
        Strength.SOURCE,
    )


def _inside(folder: str, place: Location) -> Location:
    file = folder if place.file is None else f"{folder}/{place.file}"
    return Location(file=file, line=place.line, position=place.position, text=place.text)


def _bounded(findings: list[Finding]) -> list[Finding]:
    """The findings, with one in the place of what is too many; who accepts it accepts those."""
    kept, rest = findings[:MOST_FINDINGS], findings[MOST_FINDINGS:]
    if rest:
        paths = "\0".join(str(one.location) for one in rest)
        digest = hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()
        where = Location(file=rest[0].location.file, text=f"paths of SHA-256 {digest}")
        kept.append(Finding(f"and {len(rest):,} more, of which this is the first", where))
    return kept
