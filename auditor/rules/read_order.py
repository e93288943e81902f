"""What several rules ask of the order that was read in the source, asked once; no rule itself."""

from collections.abc import Sequence

from auditor.evidence import EarlyUse, LearningOrder
from auditor.verdict import Finding, Judgement, Location, Outcome, Strength, failed, inconclusive


def with_source(ran: Judgement, order: LearningOrder | None, kind: str, does: str) -> Judgement:
    """A run's answer together with what reading shows of early uses of one kind.

    A run that saw a violation stands. Where it saw none, or nothing ran, a use that is beyond doubt
    in the source and under the configuration decides; against a run that passed it only casts
    doubt, because a run is stronger.
    """
    if order is None or ran.outcome is Outcome.FAIL:
        return ran
    early = [use for use in order.early if use.kind == kind]
    if not early:
        return ran
    findings = [_finding(use, does) for use in early]
    certain = [use for use in early if use.sure and not use.doubts]
    if certain and ran.outcome is not Outcome.PASS:
        shown = [_finding(use, does) for use in certain]
        return failed(Strength.SOURCE, shown, f"read in the source; {order.headline}")
    if certain:
        return inconclusive(
            f"the run shows no violation ({ran.reason}), but the source does", findings
        )
    if ran.outcome is Outcome.PASS:
        return ran
    return inconclusive(f"{ran.reason}; {open_question(early)}", findings, Strength.SOURCE)


def open_question(uses: Sequence[EarlyUse]) -> str:
    """Why early uses that were found decide nothing."""
    doubts = [doubt for use in uses for doubt in use.doubts]
    if doubts:
        return (
            f"{doubts[0]} follows neither from the source, nor from the README's run lines, nor "
            "from a log"
        )
    return "the source may do it, but not beyond doubt with the same tokens of the claimed score"


def _finding(use: EarlyUse, does: str) -> Finding:
    return Finding(
        f"line {use.line} {does} validation tokens ({use.text}); line {use.charge_line} then "
        f"charges the same tokens ({use.charge_text}) for the score that line {use.report_line} "
        "prints",
        Location(file=use.file, line=use.line, text=use.text),
        {
            "charge_file": use.charge_file,
            "charge_line": use.charge_line,
            "report_line": use.report_line,
        },
    )
