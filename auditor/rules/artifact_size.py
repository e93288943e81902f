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
log counted a smaller script than the shipped one, or a packed copy of it is shipped, and that total
fits, the author may mean the packed script; the shipped form is over the limit and the packed form
is not, which is INCONCLUSIVE too, with both totals. A log over the limit that does not show the
claimed score is of another run, and decides nothing about the claimed one. Where nothing can be
weighed and submission.json itself states more than the limit, that is a FAIL (strength `claimed`).

**Violates:** #1809, 16,024,793 bytes. **Innocent:** #1394, whose script is shipped compressed; a
log that counts the unpacked one.

**How it can be wrong.** A log can be edited. A model in a format that is not recognised counts as
absent. Several blobs may be one model or one for each seed; they are summed only to give a PASS.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, ShippedBytes
from auditor.rules.claims_match import claimed_logs, shows_claim
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
    packed: int | None
    """Bytes of compressed copies of scripts that are shipped."""
    claimed: bool
    certain: bool
    """The log shows the claimed score, so it is of the claimed run."""
    strength: Strength

    def over(self, limit: int) -> bool:
        """Whether both readings of the rule put it over the limit."""
        return self.model + self.script > limit

    def fits(self, limit: int) -> bool:
        """Whether it fits however code is counted."""
        return self.model + self.code <= limit

    @property
    def small_code(self) -> int | None:
        """Code as the author may mean it: the smaller script that the log counted, or a copy."""
        return min((n for n in (self.logged_code, self.packed) if n is not None), default=None)

    def fits_packed(self, limit: int) -> bool:
        """Whether it fits with less code than the shipped script."""
        small = self.small_code
        return small is not None and small < self.script and self.model + small <= limit


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Weigh every artifact that the submission claims."""
    shipped = evidence.get(ShippedBytes)
    if shipped is None:
        return inconclusive(evidence.why_not(ShippedBytes))
    if shipped.entry is None:
        return inconclusive("there is no training script whose bytes could be counted")
    limit = ruleset.artifact_bytes
    totals = list(_totals(shipped, evidence, limit))
    claimed = [total for total in totals if total.claimed]
    if not claimed:
        return _by_claim(evidence.get(ClaimedNumbers), limit)
    over = [total for total in claimed if total.over(limit) and not total.fits_packed(limit)]
    strangers = [total for total in over if not total.certain]
    if strangers and len(strangers) == len(over):
        return inconclusive(
            "no log of the claimed run is there: "
            + ", ".join(total.file for total in strangers)
            + " is over the limit, but does not show the claimed score",
            [_finding(total, limit) for total in strangers],
            Strength.LOGGED,
        )
    over = [total for total in over if total.certain]
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


def _by_claim(claims: ClaimedNumbers | None, limit: int) -> Judgement:
    """Where nothing can be weighed: what the author says counts, if it is against the record."""
    nothing = "no compressed model is shipped, and no log of a claimed run states the size of one"
    stated = claims.bytes_total if claims is not None else None
    if claims is None or stated is None or stated <= limit:
        return inconclusive(nothing)
    said = (
        f"{claims.file} states an artifact of {stated:,} bytes, {stated - limit:,} over the limit"
    )
    finding = Finding(
        f"{said} of {limit:,}", Location(file=claims.file), {"stated_bytes": stated, "limit": limit}
    )
    return failed(Strength.CLAIMED, [finding], nothing)


def _totals(shipped: ShippedBytes, evidence: Evidence, limit: int) -> Iterator[_Total]:
    """The shipped artifact, then one for each log that states a model."""
    script = shipped.code.get(shipped.entry or "", 0)
    if shipped.models:
        yield from _shipped(shipped, script, limit)
    logged = evidence.get(LoggedNumbers)
    if logged is None:
        return
    claims = evidence.get(ClaimedNumbers)
    ours = claimed_logs(logged, claims)
    for log in logged.logs:
        if log.model_bytes:
            yield _Total(
                name=f"seed {log.seed}" if log.seed is not None and log in ours else log.file,
                file=log.file,
                model=log.model_bytes,
                script=script,
                code=shipped.code_bytes,
                logged_code=log.code_bytes,
                packed=sum(shipped.packed.values()) or None,
                claimed=log in ours,
                certain=shows_claim(log, claims),
                strength=Strength.LOGGED,
            )


def _shipped(shipped: ShippedBytes, script: int, limit: int) -> Iterator[_Total]:
    """All blobs as one artifact when that fits; otherwise one by one, as one for each seed."""
    models, code, packed = shipped.models, shipped.code_bytes, shipped.packed
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
            packed=sum(packed.values()) or None,
            claimed=True,
            certain=True,
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
        small = total.small_code or 0
        source = "that its log counted" if small == total.logged_code else "that is shipped packed"
        return (
            f"{total.name} is {total.model + total.script:,} bytes with the shipped script of "
            f"{total.script:,}, and {total.model + small:,} with the script of {small:,} {source}"
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
    needs=(ShippedBytes, LoggedNumbers, ClaimedNumbers),
    check=check,
    matters=(
        "The score of a larger artifact is not comparable: the challenge is to store a model in "
        "16 MB."
    ),
    mend=(
        "Make code and compressed model smaller by the bytes that the message names; the shipped "
        "files are what counts."
    ),
    documentation=__doc__ or "",
)
