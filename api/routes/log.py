"""The log of verdicts, and verdicts as statements: what a stranger can check."""

import json
from typing import Any

import rfc8785
from fastapi import APIRouter, Depends, HTTPException, Request, Response

from api import log
from api.routes.dependencies import SessionDep, VerdictDep, reader
from auditor.attest import attest, seal

router = APIRouter(prefix="/v1", tags=["log"], dependencies=[Depends(reader)])


@router.get("/log")
def read_head(request: Request, session: SessionDep) -> dict[str, Any]:
    """Size and root of the log, and the same in a DSSE envelope, signed where there is a key."""
    head = log.head(session)
    envelope = seal(rfc8785.dumps(head), log.HEAD_TYPE, request.app.state.signing_key)
    return {**head, "envelope": json.loads(envelope)}


@router.get("/log/consistency")
def read_consistency(first: int, session: SessionDep) -> dict[str, Any]:
    """The proof that the log has only grown since it had the size `first`."""
    try:
        return log.consistency(session, first)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@router.get("/verdicts/{verdict_id}/inclusion")
def read_inclusion(row: VerdictDep, session: SessionDep) -> dict[str, Any]:
    """The proof that this verdict is in the log."""
    return log.inclusion(session, row.id)


@router.get("/verdicts/{verdict_id}/statement", response_model=dict[str, Any])
def read_statement(request: Request, row: VerdictDep) -> Response:
    """The verdict as an in-toto statement in a DSSE envelope, as `audit --attest` writes."""
    envelope = attest(json.loads(row.document), request.app.state.signing_key)
    return Response(envelope, media_type="application/json")
