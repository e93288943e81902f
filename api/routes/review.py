"""Reviewers: sets that are judged again, answers to appeals, the log of who did what."""

from collections import Counter
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import search
from api.errors import not_found
from api.jobs import Jobs
from api.review import MOST_REJUDGED, Compared, Review
from api.routes.dependencies import (
    AdminDep,
    After,
    JobsDep,
    Limit,
    RequestIdDep,
    ReviewDep,
    ReviewerDep,
    SessionDep,
    StoreDep,
    next_page,
    reader,
)
from api.schemas import Action, ActionPage, Appeal, AppealPage, Difference, Rejudge
from api.search import Wanted
from api.store import Job, Store
from api.tables import ActionRow, AppealRow, RejudgeRow
from api.web import wants_page
from auditor.rulesets import DEFAULT, RULESETS

router = APIRouter(prefix="/v1", tags=["review"], dependencies=[Depends(reader)])

Reason = Annotated[str, Form(min_length=1, max_length=2_000)]


@router.post("/rejudges", status_code=202, response_model=Rejudge)
def create_rejudge(
    request: Request,
    actor: ReviewerDep,
    session: SessionDep,
    store: StoreDep,
    jobs: JobsDep,
    review: ReviewDep,
    request_id: RequestIdDep,
    reason: Reason,
    ruleset: Annotated[str, Form(max_length=64)] = DEFAULT.name,
    verdicts: Annotated[str, Form(description="Ids with spaces between; else the filters.")] = "",
    outcome: Annotated[Literal["", "pass", "fail", "inconclusive"], Form()] = "",
    rule: Annotated[str, Form(max_length=64, description="That failed.")] = "",
    from_ruleset: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Audit the archives of some verdicts again; the new verdicts count when it is applied."""
    if ruleset not in RULESETS:
        raise HTTPException(
            422, f"no ruleset {ruleset[:64]!r}; expected one of {', '.join(RULESETS)}"
        )
    chosen = verdicts.split() or _filtered(session, outcome, rule, from_ruleset)
    rejudge_id, made = review.rejudge(chosen, ruleset, reason, actor, request_id)
    _queue(made, jobs)
    return _shown(request, store, review, rejudge_id, 202)


def _filtered(session: Session, outcome: str, rule: str, from_ruleset: str) -> list[str]:
    """The verdicts that the filters find; none without a filter, which would be all."""
    if not (outcome or rule or from_ruleset):
        raise HTTPException(422, "name verdicts, or at least one of outcome, rule, from_ruleset")
    wanted = Wanted(outcome=outcome or None, rule=rule or None, ruleset=from_ruleset or None)
    found, following = search.verdicts(session, wanted, MOST_REJUDGED, None)
    if following is not None:
        raise HTTPException(422, f"the filters find more than {MOST_REJUDGED:,} verdicts")
    return [verdict.id for verdict, _ in found]


def _queue(made: list[Job], jobs: Jobs) -> None:
    """Queue them; what cannot be is found and queued by the watch."""
    for job in made:
        jobs.put(job)


@router.get("/rejudges/{rejudge_id}", response_model=Rejudge)
def read_rejudge(rejudge_id: str, session: SessionDep, review: ReviewDep) -> Rejudge:
    """A set, and what the new verdicts say differently."""
    return rejudge_of(session, review, rejudge_id)


@router.post("/rejudges/{rejudge_id}/apply", response_model=Rejudge)
def apply_rejudge(
    request: Request,
    rejudge_id: str,
    actor: ReviewerDep,
    store: StoreDep,
    review: ReviewDep,
    request_id: RequestIdDep,
) -> Response:
    """Let the new verdicts stand for the old ones, which stay and say by what."""
    review.decide(rejudge_id, True, actor, request_id)
    return _shown(request, store, review, rejudge_id)


@router.post("/rejudges/{rejudge_id}/cancel", response_model=Rejudge)
def cancel_rejudge(
    request: Request,
    rejudge_id: str,
    actor: ReviewerDep,
    store: StoreDep,
    jobs: JobsDep,
    review: ReviewDep,
    request_id: RequestIdDep,
) -> Response:
    """Drop the set: nothing counts of it, and what still waits or runs ends."""
    review.decide(rejudge_id, False, actor, request_id)
    jobs.stop_unwanted()
    return _shown(request, store, review, rejudge_id)


def rejudge_of(session: Session, review: Review, rejudge_id: str) -> Rejudge:
    """A set as it is told to others."""
    row = session.get(RejudgeRow, rejudge_id)
    if row is None:
        raise not_found("rejudge", rejudge_id)
    compared = review.compared(session, rejudge_id)
    return Rejudge(
        id=row.id,
        ruleset=row.ruleset,
        reason=row.reason,
        actor=row.actor,
        state=row.state,
        created=row.created,
        decided=row.decided,
        counts=dict(Counter(each.audit.state for each in compared)),
        differences=[_difference(each) for each in compared],
    )


def _difference(compared: Compared) -> Difference:
    new = compared.audit.verdict
    return Difference(
        verdict=compared.old.id,
        outcome=compared.old.outcome,
        audit=compared.audit.id,
        state=compared.audit.state,
        new_verdict=None if new is None else new.id,
        new_outcome=None if new is None else new.outcome,
        changed=compared.changed,
    )


def _shown(
    request: Request, store: Store, review: Review, rejudge_id: str, status: int = 200
) -> Response:
    if wants_page(request):
        return RedirectResponse(f"/rejudges/{rejudge_id}", 303)
    with store.database.read() as session:
        told = rejudge_of(session, review, rejudge_id)
    where = {"Location": f"/v1/rejudges/{rejudge_id}"}
    return JSONResponse(told.model_dump(mode="json"), status, where)


@router.get("/appeals", response_model=AppealPage)
def list_appeals(
    request: Request,
    session: SessionDep,
    state: Literal["open", "accepted", "rejected"] = "open",
    limit: Limit = 50,
    after: After = None,
) -> AppealPage:
    """Appeals, the oldest first."""
    query = select(AppealRow).where(AppealRow.state == state)
    rows, following = search.oldest_first(session, query, limit, after)
    items = [Appeal.of(row) for row in rows]
    return AppealPage(items=items, next=next_page(request, following))


@router.post("/appeals/{appeal_id}/answer", response_model=Appeal)
def answer_appeal(
    request: Request,
    appeal_id: str,
    actor: ReviewerDep,
    session: SessionDep,
    review: ReviewDep,
    request_id: RequestIdDep,
    decision: Annotated[Literal["accepted", "rejected"], Form()],
    answer: Reason,
) -> Response | Appeal:
    """Answer an appeal, once. The verdict stays: what follows is a rejudge or a note."""
    verdict_id = review.answer(appeal_id, decision, answer, actor, request_id)
    if wants_page(request):
        return RedirectResponse(f"/verdicts/{verdict_id}#appeals", 303)
    return Appeal.of(session.get_one(AppealRow, appeal_id))


@router.get("/actions", response_model=ActionPage)
def list_actions(
    request: Request,
    actor: AdminDep,
    session: SessionDep,
    subject: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> ActionPage:
    """Who did what, the newest first."""
    query = select(ActionRow).order_by(ActionRow.id.desc()).limit(limit + 1)
    if subject is not None:
        query = query.where(ActionRow.subject == subject)
    if after is not None:
        query = query.where(ActionRow.id < search.position(after, int)[0])
    rows = list(session.scalars(query))
    following = search.cursor(rows[limit - 1].id) if len(rows) > limit else None
    items = [
        Action(
            id=row.id,
            at=row.at,
            actor=row.actor,
            verb=row.verb,
            subject=row.subject,
            detail=row.detail,
            request_id=row.request_id,
        )
        for row in rows[:limit]
    ]
    return ActionPage(items=items, next=next_page(request, following))
