"""The prediction at a position is a function of the artifact and of the tokens before it (C1).

A score is a code length only if a decoder could have made the same prediction, and a decoder has
nothing but the artifact and the tokens it has already decoded.

Judged by changing a position of the validation stream and every token after it, and running the
submission's own code again: no charge before that position may move, not in the last digit. A run
that does not repeat itself when nothing is changed decides nothing.

With `--prove` the record's `system.py` is looked at too. Where the text came back from bits at the
claimed score, the decoder had nothing but the prefix: proved, unless a violation was seen. Where
windows were charged again by processes that did not hold what follows, a charge that is another one
each time fails the rule (strength `ran`): more than rounding in 16 bits gives, or to the advantage
of the fast pass throughout. A system that does not repeat itself is INCONCLUSIVE. Where all charges
agree, at the claimed score, that passes the rule if nothing else looked, with the probability that
a leak was not drawn.

Where nothing ran, one case is decided by source and logs together (strength `logged`): n-gram
experts of April count how often their gates `within_gate`, `word_gate` and `agree2plus` were
open. Where a compiled helper sets such a gate by the kind of the token at the same position,
which asks whether the token being predicted continues a word, and every claimed log shows it
open, the rule fails with both lines; organisers excluded such records. The counter alone decides
nothing. Where no such counter is printed, a helper's function that gives a hint or none by the
kind of the token at the same position, which is learnt only afterwards, fails the rule when every
claimed log prints that its hints have a weight.

Violates: #2041, whose expert was let in where the next token continues a word. Innocent: #1514,
whose gates ask for the token before, and whose logs print that they weigh nothing.

How it can be wrong: one site is changed per audit (drawn from the submission's digest), so a look
ahead that happens only elsewhere is missed. Use of the token itself at its own position is the
business of full-distribution. A replay looks at windows that are drawn; and a system that differs
by process, equal in both fast passes and otherwise in every replay, would fail wrongly.
"""

import re
from collections.abc import Mapping

from auditor.evidence import (
    BlindReplay,
    Evidence,
    LoggedNumbers,
    NoiseBound,
    PrefixSensitivity,
    RoundTrip,
    TargetGates,
    WeighedGate,
)
from auditor.rules.claimed import claimed_logs
from auditor.rules.measured import beats_noise, future_moved_charges, ran_through
from auditor.rules.proof import beside_a_proof
from auditor.rules.read_order import beside_a_run
from auditor.rules.replayed import beside_a_replay
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
)

_NUMBER = re.compile(r"\d{1,6}(?:\.\d{1,12})?")


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when earlier charges moved, or the logs show gates that look at the answer."""
    judged = beside_a_run(_ran(evidence, ruleset), _open_gates(evidence))
    return beside_a_proof(evidence, ruleset, beside_a_replay(evidence, judged))


def _open_gates(evidence: Evidence) -> Judgement | None:
    """What gates of an n-gram expert amount to that were open in every claimed run.

    Where one of the claimed runs printed that they were closed, it may be the one that counts.
    """
    counted = [log for log in claimed_logs(evidence) if log.facts.gates]
    if not counted:
        return _weighed_gates(evidence)
    opened = [
        (log, {name: count for name, count in log.facts.gates.items() if count}) for log in counted
    ]
    if not all(gates for _, gates in opened):
        return None
    findings = [
        Finding(
            "gates of the n-gram expert were open: "
            + ", ".join(f"{name} at {count:,} positions" for name, count in gates.items()),
            Location(file=log.file),
            {**gates},
        )
        for log, gates in opened
    ]
    source = evidence.get(TargetGates)
    if source is None or not source.lines:
        return inconclusive(
            "gates of these names asked for the kind of the token being predicted in other "
            "records; whether these do was not read in a helper",
            findings,
            Strength.LOGGED,
        )
    shown = [
        Finding(
            f"line {line.line} lets the expert in by the kind of the token being predicted "
            f"({line.text})",
            Location(file=line.file, line=line.line, text=line.text),
        )
        for line in source.lines
    ]
    return failed(Strength.LOGGED, [*shown, *findings])


def _weighed_gates(evidence: Evidence) -> Judgement | None:
    """A failure where all claimed runs print that hints let in by the answer have a weight."""
    source, logs = evidence.get(TargetGates), claimed_logs(evidence)
    findings = []
    for gate in source.weighed if source is not None else ():
        settings = [(log, _weight(gate, log.settings)) for log in logs]
        if not logs or not all(weight for _, weight in settings):
            continue
        findings.append(
            Finding(
                f"{gate.function} gives a hint or none by the kind of the token that is predicted "
                f"at that position, and learnt only afterwards ({gate.text})",
                Location(file=gate.file, line=gate.line, text=gate.text),
            )
        )
        findings += [
            Finding(f"the hints of {gate.function} had a weight: {said}", Location(file=log.file))
            for log, said in settings
        ]
    return failed(Strength.LOGGED, findings) if findings else None


def _weight(gate: WeighedGate, settings: Mapping[str, str]) -> str | None:
    """The setting by which a gate's hints count; None where they do not, or nobody says."""

    def named(names: tuple[str, ...]) -> list[tuple[str, float]]:
        return [
            (setting, float(value))
            for setting, value in settings.items()
            for name in names
            if (setting == name or setting.endswith(f"_{name}")) and _NUMBER.fullmatch(value)
        ]

    if any(share > 1 for _, share in named(gate.thresholds)):
        return None
    return next((f"{name} is {weight:g}" for name, weight in named(gate.weights) if weight), None)


def _ran(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when earlier charges moved, PASS when none did."""
    prefix = evidence.get(PrefixSensitivity)
    if prefix is None:
        return inconclusive(evidence.why_not(PrefixSensitivity))
    if not prefix.compared:
        return inconclusive(f"no charge before position {prefix.position:,} could be compared")
    if future_moved_charges(prefix):
        return failed(
            Strength.RAN,
            [
                Finding(
                    f"{prefix.moved:,} of {prefix.compared:,} charges before position "
                    f"{prefix.position:,} moved, by up to {prefix.largest_nats:.3g} nats, when "
                    "only that token and later ones were changed; two equal runs differ nowhere",
                    Location(position=prefix.first_moved),
                    {"moved": prefix.moved, "compared": prefix.compared},
                )
            ],
        )
    if prefix.moved:
        return inconclusive(
            f"{prefix.moved:,} charges moved with later tokens, but "
            f"{prefix.repeat_moved or 0:,} moved between two equal runs as well"
        )
    seen = f"0 of {prefix.compared:,} earlier charges moved when position {prefix.position:,} "
    noise = evidence.get(NoiseBound)
    rest = "; see full-distribution for the rest"
    beaten = noise is not None and beats_noise(noise, ruleset)
    return ran_through(evidence, Strength.RAN, f"{seen}and later changed{rest if beaten else ''}")


RULE = Rule(
    id="strict-prefix",
    title="Predictions depend on the artifact and the strict prefix only",
    authority="official",
    needs=(RoundTrip, BlindReplay, PrefixSensitivity, NoiseBound, TargetGates, LoggedNumbers),
    check=check,
    matters=(
        "A decoder has only the artifact and the tokens before; a prediction that uses more "
        "cannot be decoded."
    ),
    mend=(
        "Compute each charge from the artifact and the tokens before its position, and test it: "
        "change later tokens and compare."
    ),
    documentation=__doc__ or "",
)
