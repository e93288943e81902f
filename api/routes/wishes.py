"""What can be asked of an audit, whichever way its files come."""

import json
from typing import Annotated, Any, Literal

from fastapi import Depends, Form, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from api.access import Actor, Scope
from api.callbacks import address_of
from api.git_source import FOLDER, REF
from api.store import Asked
from api.tables import Priority
from auditor.audit import EXPERIMENTS
from auditor.rulesets import DEFAULT, RULESETS

Rank = Literal["low", "normal", "high"]
Experiment = Annotated[str, Field(max_length=64)]

RUN = "Execute its script in the sandbox, on noise."
RULESET = "Dated set of rules to judge by."
AGAIN = "Audit even if there is a verdict already."
BATCH = "Of which many this is one."
CALLBACK = "Address that is told of the end."
PRIORITY = "Who comes first of those that wait; `high` needs the scope review."
BUDGET = "No experiment is begun that would end later, by what the first run took."
ONLY = "Make these experiments alone; without any, those that can still decide something."
BATCH_PATTERN = r"^[\w.-]{1,100}$"
MOST_BUDGET_SECONDS = 86_400.0

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200)]


class Wish(BaseModel):
    """The options of an audit."""

    model_config = ConfigDict(extra="forbid")

    run: bool = Field(default=True, description=RUN)
    ruleset: str = Field(default=DEFAULT.name, description=RULESET)
    again: bool = Field(default=False, description=AGAIN)
    batch: str | None = Field(default=None, pattern=BATCH_PATTERN, description=BATCH)
    callback: str | None = Field(default=None, max_length=2_000, description=CALLBACK)
    priority: Rank = Field(default="normal", description=PRIORITY)
    budget_seconds: float | None = Field(
        default=None, ge=0, le=MOST_BUDGET_SECONDS, allow_inf_nan=False, description=BUDGET
    )
    experiments: list[Experiment] = Field(default=[], max_length=20, description=ONLY)


class GitWish(Wish):
    """An audit of a folder in a git repository."""

    git: Annotated[str, Field(min_length=1, max_length=500, description="Its address.")]
    ref: Annotated[str, Field(pattern=REF, description="Branch, tag, refs/..., or commit.")]
    folder: Annotated[str, Field(pattern=FOLDER, description="The record folder in it.")]


def _of_form(
    run: Annotated[bool, Form(description=RUN)] = True,
    ruleset: Annotated[str, Form(description=RULESET)] = DEFAULT.name,
    again: Annotated[bool, Form(description=AGAIN)] = False,
    batch: Annotated[str | None, Form(pattern=BATCH_PATTERN, description=BATCH)] = None,
    callback: Annotated[str | None, Form(max_length=2_000, description=CALLBACK)] = None,
    priority: Annotated[Rank, Form(description=PRIORITY)] = "normal",
    budget_seconds: Annotated[
        float | None,
        Form(ge=0, le=MOST_BUDGET_SECONDS, allow_inf_nan=False, description=BUDGET),
    ] = None,
    experiments: Annotated[
        str, Form(max_length=1_000, description=f"{ONLY} With commas between.")
    ] = "",
) -> Wish:
    return Wish(
        run=run,
        ruleset=ruleset,
        again=again,
        batch=batch,
        callback=callback,
        priority=priority,
        budget_seconds=budget_seconds,
        experiments=[name.strip()[:64] for name in experiments.split(",") if name.strip()][:20],
    )


FormWish = Annotated[Wish, Depends(_of_form)]


def check(wish: Wish, actor: Actor) -> None:
    """Refuse what no audit could do, and what not everybody may ask for."""
    _known("ruleset", wish.ruleset, RULESETS)
    for name in wish.experiments:
        _known("experiment", name, EXPERIMENTS)
    if wish.priority == "high" and not actor.may(Scope.REVIEW):
        raise HTTPException(403, "the priority high needs a key with the scope review")
    if wish.callback is not None:
        address_of(wish.callback)


def asked_of(
    wish: Wish,
    actor: Actor,
    *,
    name: str,
    digest: str,
    key: str | None,
    request_id: str,
    source: str | None = None,
) -> Asked:
    """A checked wish as the store takes it."""
    options: dict[str, Any] = {}
    if wish.budget_seconds is not None:
        options["budget_seconds"] = wish.budget_seconds
    if wish.experiments:
        options["experiments"] = sorted(set(wish.experiments))
    return Asked(
        name=name,
        digest=digest,
        run=wish.run,
        ruleset=wish.ruleset,
        options=json.dumps(options, sort_keys=True),
        priority=Priority[wish.priority.upper()],
        actor=actor.id,
        audits_per_day=actor.audits_per_day,
        key=key,
        again=wish.again,
        batch=wish.batch,
        callback=wish.callback,
        request_id=request_id,
        source=source,
    )


def _known(noun: str, name: str, names: Any) -> None:
    if name not in names:
        raise HTTPException(422, f"no {noun} {name[:64]!r}; expected one of {', '.join(names)}")
