"""Verdicts: what was said, as a document or as a page."""

import json
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from api.routes.dependencies import VerdictDep, reader
from api.web import wants_page
from auditor import __version__
from auditor.report.html import render_html

router = APIRouter(prefix="/v1/verdicts", tags=["verdicts"], dependencies=[Depends(reader)])


@router.get("/{verdict_id}", response_model=dict[str, Any])
def read_verdict(request: Request, row: VerdictDep) -> Response:
    """The verdict v1 document byte for byte as it was stored, or its report for a browser."""
    as_page = wants_page(request)
    # A document never changes; its page may, when a release draws it better.
    tag = f'"{row.digest}-html-{__version__}"' if as_page else f'"{row.digest}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept"}
    known = request.headers.get("if-none-match", "")
    if tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    if as_page:
        return HTMLResponse(render_html([json.loads(row.document)]), headers=headers)
    return Response(row.document, headers=headers, media_type="application/json")
