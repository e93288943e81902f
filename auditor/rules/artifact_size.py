"""Code and compressed model, as shipped, fit in 16,000,000 bytes.

**Motive.** The challenge is to store a model in 16 MB (decimal) of code and compressed weights. The
total that a log prints counts whatever script was running, often another than the shipped one, so
it is never taken as it stands.

**How it is judged.** The bytes of the code are recounted from the shipped files. The bytes of the
model are those of the shipped blob, or, where none is shipped, those that each log states for its
compressed model. Every log of a claimed run must fit. Logs of other runs that lie beside them (such
as ablations) are not part of the claim: they are weighed too, but only mentioned. The organisers
have not settled whether helper files count, so the total is made twice, with the training script
alone and with all code: over with both is a FAIL, over only with helpers is INCONCLUSIVE. Where a
log counted a smaller script than the shipped one and that total fits, the author may mean to pack
the script; the shipped form is then over the limit and the packed form is not, which is
INCONCLUSIVE too, with both totals.

**How it can be wrong.** A log can be edited. A model in a format that is not recognised counts as
absent. Several blobs may be one model or one for each seed; they are summed only to give a PASS.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, ShippedBytes
from auditor.rules.claims_match import claimed_logs
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Total:
    """One artifact: a model, and the code counted in three ways."""

    name: str
    file: str
    model: int
    script: int
    code: int
    logged_code: int | None
    """What the run's own log counted as code."""
    claimed: bool
    strength: Strength

    def over(self, limit: int) -> bool:
        """Whether both readings of the rule put it over the limit."""
        return self.model + self.script > limit

    def fits(self, limit: int) -> bool:
        """Whether it fits however code is counted."""
        return self.model + self.code <= limit

    def fits_packed(self, limit: int) -> bool:
        """Whether it fits with the smaller script that the log counted."""
        logged = self.logged_code
        return logged is not None and logged < self.script and self.model + logged <= limit


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Weigh every artifact that the submission claims."""
    shipped = evidence.get(ShippedBytes)
    if shipped is None:
        return inconclusive(evidence.why_not(ShippedBytes))
    if shipped.entry is None:
        return inconclusive("there is no training script whose bytes could be counted")
    totals = list(_totals(shipped, evidence))
    claimed = [total for total in totals if total.claimed]
    if not claimed:
        return inconclusive(
            "no compressed model is shipped, and no log of a claimed run states the size of one"
        )
    limit = ruleset.artifact_bytes
    over = [total for total in claimed if total.over(limit) and not total.fits_packed(limit)]
    if over:
        strength = max(total.strength for total in over)
        return failed(strength, [_finding(total, limit) for total in over], _others(totals, limit))
    unsure = [total for total in claimed if not total.fits(limit)]
    if unsure:
        return inconclusive(
            "it depends on how code is counted: "
            + "; ".join(_readings(total, limit) for total in unsure),
            [_finding(total, limit) for total in unsure],
            max(total.strength for total in unsure),
        )
    sizes = ", ".join(f"{total.name} {total.model + total.code:,}" for total in claimed)
    return passed(
        max(total.strength for total in claimed),
        f"code and model within {limit:,} bytes: {sizes}{_others(totals, limit)}",
    )


def _totals(shipped: ShippedBytes, evidence: Evidence) -> Iterator[_Total]:
    """The shipped artifact, then one for each log that states a model."""
    script = shipped.code.get(shipped.entry or "", 0)
    if shipped.models:
        yield from _shipped(shipped.models, script, shipped.code_bytes)
    logged = evidence.get(LoggedNumbers)
    if logged is None:
        return
    ours = claimed_logs(logged, evidence.get(ClaimedNumbers))
    for log in logged.logs:
        if log.model_bytes:
            yield _Total(
                name=f"seed {log.seed}" if log.seed is not None and log in ours else log.file,
                file=log.file,
                model=log.model_bytes,
                script=script,
                code=shipped.code_bytes,
                logged_code=log.code_bytes,
                claimed=log in ours,
                strength=Strength.LOGGED,
            )


def _shipped(models: Mapping[str, int], script: int, code: int) -> Iterator[_Total]:
    """All blobs as one artifact when that fits; otherwise one by one, as one for each seed."""
    groups = (
        [tuple(models)] if sum(models.values()) + code <= 16_000_000 else [(m,) for m in models]
    )
    for group in groups:
        yield _Total(
            name=" + ".join(group),
            file=group[0],
            model=sum(models[path] for path in group),
            script=script,
            code=code,
            logged_code=None,
            claimed=True,
            strength=Strength.SOURCE,
        )


def _finding(total: _Total, limit: int) -> Finding:
    """The total, by how much it is over, and its parts."""
    whole = total.model + (total.script if total.over(limit) else total.code)
    helpers = total.code - total.script
    return Finding(
        f"artifact of {total.name} is {whole:,} bytes, {whole - limit:,} over the limit of "
        f"{limit:,}: model {total.model:,}, training script {total.script:,}"
        + (f", other code {helpers:,}" if helpers else ""),
        Location(file=total.file),
        {
            "model_bytes": total.model,
            "script_bytes": total.script,
            "code_bytes": total.code,
            "logged_code_bytes": total.logged_code,
            "limit_bytes": limit,
        },
    )


def _readings(total: _Total, limit: int) -> str:
    """The totals that disagree about the limit."""
    if total.over(limit):
        return (
            f"{total.name} is {total.model + total.script:,} bytes with the shipped script of "
            f"{total.script:,}, and {total.model + (total.logged_code or 0):,} with the script of "
            f"{total.logged_code or 0:,} that its log counted"
        )
    return (
        f"{total.name} is {total.model + total.script:,} bytes with the training script alone, and "
        f"{total.model + total.code:,} with all shipped code"
    )


def _others(totals: list[_Total], limit: int) -> str:
    """A remark about runs that are not claimed."""
    others = [total for total in totals if not total.claimed]
    if not others:
        return ""
    over = [total.name for total in others if total.over(limit)]
    remark = f"; not claimed, not judged: {', '.join(total.name for total in others)}"
    return remark + (f" (of these over the limit: {', '.join(over)})" if over else "")


RULE = Rule(
    id="artifact-size",
    title="Code and compressed model fit in 16,000,000 bytes",
    authority="official",
    needs=(ShippedBytes, LoggedNumbers),
    check=check,
    documentation=__doc__ or "",
)
