"""A verdict in a paragraph, for someone who has never read a rule."""

from collections.abc import Mapping
from typing import Any

from auditor.change_rules import CHANGE_RULES
from auditor.report.figures import Noise, fact, noise
from auditor.report.words import clean
from auditor.rules import RULES

STRENGTHS = {
    "claimed": "said by the submission",
    "logged": "printed in its run log",
    "source": "read in the shipped files",
    "ran": "seen while its own code ran",
    "proved": "cannot be otherwise",
}
"""What each strength of evidence means, weakest first."""


def summary(document: Mapping[str, Any]) -> list[str]:
    """Sentences: how many rules, the strongest reason, noise, proof, what is missing."""
    sentences = [_count(document)]
    worst = _strongest_failure(document)
    if worst is not None:
        result, message = worst
        sentences.append(
            f"The strongest evidence ({clean(result['strength'])}) is against "
            f"{clean(result['rule'])}: {_sentence(message)}"
        )
    bound = noise(document)
    if bound is not None:
        sentences.append(beat(bound))
    sentences += proof(document)
    if document["trouble"] is not None:
        sentences.append(
            f"The run that was asked for gave no evidence: {_sentence(clean(document['trouble']))}"
        )
    if document["overrides"]:
        changed = len(document["overrides"])
        sentences.append(
            f"The run changed {changed} of the submission's own settings, listed below."
            if changed > 1
            else "The run changed one of the submission's own settings, listed below."
        )
    return sentences


def advice(rule_id: str) -> tuple[str, ...]:
    """Why a finding of this rule matters, how to mend it, and where there is more to read."""
    for rule in (*RULES, *CHANGE_RULES):
        if rule.id == rule_id:
            more = f"More: auditor explain {rule.id}"
            return (f"Why it matters: {rule.matters}", f"To mend it: {rule.mend}", more)
    return ()


def beat(bound: Noise) -> str:
    """The noise bound in one sentence."""
    if bound.ln_e <= 0:
        return (
            f"On {bound.tokens:,} tokens of noise it does not beat the source that drew them: "
            f"{bound.reported_bits:.4f} bits per token, {bound.source_bits:.4f} needed."
        )
    return (
        f"On {bound.tokens:,} tokens of noise it beats the source that drew them by "
        f"{bound.ln_e:,.1f} nats ({bound.reported_bits:.4f} bits per token, "
        f"{bound.source_bits:.4f} needed); a valid submission does so with a probability below "
        f"{probability(bound.ln_e)}."
    )


def proof(document: Mapping[str, Any]) -> list[str]:
    """What the record's own system made of a text: sentences, none where nobody asked."""
    sentences = []
    trip, replay = fact(document, "RoundTrip"), fact(document, "BlindReplay")
    if trip is not None and trip["bits"] is not None:
        sentences.append(
            f"A text of {trip['positions']:,} tokens came back from {trip['bits']:,} bits, "
            f"{trip['bits'] / trip['text_bytes']:.4f} a byte."
        )
    if replay is not None:
        same = "all of them the same"
        if replay["differing"]:
            same = f"{replay['differing']:,} of them otherwise"
        sentences.append(
            f"In {replay['replayed_windows']:,} of {replay['windows']:,} windows of a text "
            f"{replay['replayed']:,} charges were made again without the tokens after them, "
            f"{same}; a leak in a tenth of the windows goes unseen with probability "
            f"{replay['miss_tenth']:.2g}, in a hundredth with {replay['miss_hundredth']:.2g}."
        )
    return sentences


def probability(nats: float) -> str:
    """The bound exp(-nats) in a form that does not vanish."""
    return f"e^-{nats:,.0f}" if nats >= 10 else f"e^-{nats:.2f}"


def _count(document: Mapping[str, Any]) -> str:
    """How many of the rules that apply say what."""
    outcomes = [result["outcome"] for result in document["results"]]
    applied = len(outcomes) - outcomes.count("not-applicable")
    failed, unclear = outcomes.count("fail"), outcomes.count("inconclusive")
    rules = "the only rule that applies" if applied == 1 else f"the {applied} rules that apply"
    if not applied:
        return "No rule applied, so nothing is known about this score."
    if failed:
        rest = f"; {unclear} could not be decided" if unclear else ""
        return f"Of {rules}, {failed} failed{rest}."
    if unclear:
        return (
            f"No violation was found, but of {rules}, {unclear} could not be decided: "
            "this score is not confirmed."
        )
    return f"No violation was found: {rules} passed."


def _strongest_failure(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The failed result with the best evidence, earlier rules first, and what it found."""
    failures = [r for r in document["results"] if r["outcome"] == "fail" and r["findings"]]
    if not failures:
        return None
    ranks = list(STRENGTHS)
    best = max(failures, key=lambda r: ranks.index(r["strength"]) if r["strength"] in ranks else -1)
    return best, clean(best["findings"][0]["message"])


def _sentence(text: str) -> str:
    """The text with a full stop."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
