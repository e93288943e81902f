"""What people add to verdicts: sets that are judged again, appeals, notes. No verdict changes."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import HTTPException
from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from api.access import Actor
from api.errors import not_found
from api.keys import note
from api.store import Asked, Job, Store, add_audit
from api.tables import (
    UNENDED,
    AppealRow,
    AuditRow,
    NoteRow,
    Priority,
    RejudgeRow,
    RuleOutcomeRow,
    State,
    SupersededRow,
    VerdictRow,
)

MOST_REJUDGED = 2_000
"""Verdicts of one set."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An old verdict beside the new one of its submission."""

    old: VerdictRow
    audit: AuditRow
    """The new audit; its verdict may not be there yet."""
    changed: dict[str, tuple[str | None, str | None]]
    """Rule -> outcome before and after, where they differ."""


class Review:
    """Every change is one method here, in one transaction, with who did it."""

    def __init__(self, store: Store) -> None:
        """Keep rows in the store's database."""
        self._database = store.database

    def rejudge(
        self, verdict_ids: Iterable[str], ruleset: str, reason: str, actor: Actor, request_id: str
    ) -> tuple[str, list[Job]]:
        """A new set: its id, and the jobs that are to be queued, after what people hand in."""
        wanted = list(dict.fromkeys(verdict_ids))
        if not 0 < len(wanted) <= MOST_REJUDGED:
            raise HTTPException(
                422, f"a set has 1 to {MOST_REJUDGED:,} verdicts, this has {len(wanted):,}"
            )
        rejudge_id = uuid.uuid4().hex
        with self._database.write() as session:
            session.add(
                RejudgeRow(
                    id=rejudge_id,
                    ruleset=ruleset,
                    reason=reason,
                    actor=actor.id,
                    state="open",
                    created=_now(),
                )
            )
            session.flush()
            made = []
            for verdict_id in wanted:
                old = session.get(VerdictRow, verdict_id, options=[joinedload(VerdictRow.audit)])
                if old is None:
                    raise not_found("verdict", verdict_id)
                if dropped := old.audit.submission.dropped:
                    raise HTTPException(
                        409,
                        f"the archive of verdict {verdict_id} was dropped on {dropped:%Y-%m-%d}; "
                        "hand it in again first",
                    )
                if session.get(SupersededRow, verdict_id):
                    raise HTTPException(409, f"verdict {verdict_id} is superseded already")
                asked = Asked(
                    name=old.audit.name,
                    digest="",
                    run=old.audit.run,
                    ruleset=ruleset,
                    options=old.audit.options,
                    priority=Priority.LOW,
                    actor=actor.id,
                    request_id=request_id,
                    rejudge_id=rejudge_id,
                    rejudges=verdict_id,
                )
                made.append(add_audit(session, old.audit.submission_sha256, asked))
            detail = f"{len(made)} verdicts under {ruleset}: {reason}"
            note(session, actor.id, "rejudge begun", rejudge_id, detail, request_id)
        return rejudge_id, made

    def decide(self, rejudge_id: str, applied: bool, actor: Actor, request_id: str) -> None:
        """Let the new verdicts of a set stand for the old ones, or drop the set."""
        with self._database.write() as session:
            row = session.get(RejudgeRow, rejudge_id, with_for_update=True)
            if row is None:
                raise not_found("rejudge", rejudge_id)
            if row.state != "open":
                raise HTTPException(409, f"rejudge {rejudge_id} has ended: it is {row.state}")
            audits = session.scalars(
                select(AuditRow)
                .where(AuditRow.rejudge_id == rejudge_id)
                .options(joinedload(AuditRow.verdict))
            ).all()
            if applied:
                self._apply(session, rejudge_id, audits)
            else:
                session.execute(
                    update(AuditRow)
                    .where(AuditRow.rejudge_id == rejudge_id, AuditRow.state.in_(UNENDED))
                    .values(
                        state=State.CANCELLED,
                        doing="cancelled",
                        finished=_now(),
                        version=AuditRow.version + 1,
                    )
                )
            row.state = "applied" if applied else "cancelled"
            row.decided = _now()
            note(session, actor.id, f"rejudge {row.state}", rejudge_id, "", request_id)

    def _apply(self, session: Session, rejudge_id: str, audits: Sequence[AuditRow]) -> None:
        left = [audit for audit in audits if audit.state in UNENDED]
        if left:
            raise HTTPException(
                409, f"{len(left)} of {len(audits)} audits have not ended; apply when all have"
            )
        for audit in audits:
            if audit.verdict is None or audit.rejudges is None:
                continue
            if session.get(SupersededRow, audit.rejudges):
                raise HTTPException(409, f"verdict {audit.rejudges} was superseded meanwhile")
            session.add(
                SupersededRow(
                    verdict_id=audit.rejudges, by_id=audit.verdict.id, rejudge_id=rejudge_id
                )
            )

    def compared(self, session: Session, rejudge_id: str) -> list[Compared]:
        """Old and new side by side, in the order of the set."""
        audits = session.scalars(
            select(AuditRow)
            .where(AuditRow.rejudge_id == rejudge_id)
            .options(joinedload(AuditRow.verdict))
            .order_by(AuditRow.created, AuditRow.id)
        ).all()
        return [self._beside(session, audit) for audit in audits]

    def _beside(self, session: Session, audit: AuditRow) -> Compared:
        old = session.get_one(VerdictRow, audit.rejudges)
        changed: dict[str, tuple[str | None, str | None]] = {}
        if audit.verdict is not None:
            before, after = (_outcomes(session, each.id) for each in (old, audit.verdict))
            for rule in dict.fromkeys((*before, *after)):
                if before.get(rule) != after.get(rule):
                    changed[rule] = (before.get(rule), after.get(rule))
        return Compared(old, audit, changed)

    def appeal(
        self,
        verdict_id: str,
        rule: str,
        text: str,
        evidence: str,
        actor: Actor,
        request_id: str,
    ) -> str:
        """Somebody's appeal against what one rule said."""
        appeal_id = uuid.uuid4().hex
        with self._database.write() as session:
            if session.get(RuleOutcomeRow, (verdict_id, rule)) is None:
                raise HTTPException(422, f"the verdict judged by no rule {rule[:64]!r}")
            session.add(
                AppealRow(
                    id=appeal_id,
                    verdict_id=verdict_id,
                    rule=rule,
                    text=text,
                    evidence=evidence,
                    actor=actor.id,
                    created=_now(),
                    state="open",
                )
            )
            note(session, actor.id, "appeal made", appeal_id, f"{verdict_id}: {rule}", request_id)
        return appeal_id

    def answer(
        self, appeal_id: str, decision: str, answer: str, actor: Actor, request_id: str
    ) -> str:
        """Answer an appeal once; returns the verdict that it is about."""
        with self._database.write() as session:
            row = session.get(AppealRow, appeal_id, with_for_update=True)
            if row is None:
                raise not_found("appeal", appeal_id)
            if row.state != "open":
                raise HTTPException(409, f"appeal {appeal_id} has its answer: {row.state}")
            row.state, row.answer = decision, answer
            row.answered_by, row.answered = actor.id, _now()
            note(session, actor.id, f"appeal {decision}", appeal_id, row.verdict_id, request_id)
            return row.verdict_id

    def annotate(self, verdict_id: str, text: str, actor: Actor, request_id: str) -> None:
        """A note beside a verdict."""
        with self._database.write() as session:
            session.add(NoteRow(verdict_id=verdict_id, text=text, actor=actor.id, created=_now()))
            note(session, actor.id, "note written", verdict_id, "", request_id)


def _outcomes(session: Session, verdict_id: str) -> dict[str, str]:
    query = select(RuleOutcomeRow).where(RuleOutcomeRow.verdict_id == verdict_id)
    return {row.rule: row.outcome for row in session.scalars(query)}


def _now() -> datetime:
    return datetime.now(UTC)
