"""POST /v1/audits with JSON: the record folder is in a repository that the operator allows."""

import io

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from api.git_source import fetch
from api.routes.audits import show_new, take_in
from api.routes.dependencies import JobsDep, RequestIdDep, SettingsDep, StoreDep, SubmitterDep
from api.routes.wishes import GitWish, IdempotencyKey, asked_of, check


class _JsonRoute(APIRoute):
    """The same address as for archives: the type of the body decides."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        kind = Headers(scope=scope).get("content-type", "") if scope["type"] == "http" else ""
        if kind.partition(";")[0].strip().lower() != "application/json":
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(prefix="/v1/audits", route_class=_JsonRoute)


# The description of the route for archives has this body too: an address has one description.
@router.post("", status_code=202, include_in_schema=False)
def create_audit_from_git(
    request: Request,
    actor: SubmitterDep,
    settings: SettingsDep,
    store: StoreDep,
    jobs: JobsDep,
    request_id: RequestIdDep,
    wish: GitWish,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Fetch a commit and queue the audit of its folder."""
    check(wish, actor)
    fetched = fetch(wish.git, wish.ref, wish.folder, settings, jobs.scratch)
    asked = asked_of(
        wish,
        actor,
        name=fetched.name,
        digest=fetched.digest,
        key=idempotency_key,
        request_id=request_id,
        source=f"{wish.git}@{fetched.sha}:{wish.folder}",
    )
    audit_id, new = take_in(store, jobs, io.BytesIO(fetched.archive), asked)
    return show_new(request, store, audit_id, 202 if new else 200)
