"""What several rules ask of what was read in the source, asked once; no rule itself."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from auditor.evidence import EarlyUse, LearningOrder, Mixed, OnTheWay
from auditor.verdict import Finding, Judgement, Location, Outcome, Strength, failed, inconclusive

Line = TypeVar("Line", OnTheWay, Mixed)


def beside_a_run(ran: Judgement, read: Judgement | None) -> Judgement:
    """A run's answer together with a violation that reading shows, or may show.

    A run that saw a violation stands. Where nothing ran, reading decides; against a run that
    passed it only casts doubt, because a run is stronger.
    """
    if read is None or ran.outcome is Outcome.FAIL:
        return ran
    if ran.outcome is Outcome.PASS:
        if read.outcome is not Outcome.FAIL:
            return ran
        said = f"the run shows no violation ({ran.reason}), but what was read does"
        return inconclusive(said, read.findings)
    if read.outcome is Outcome.FAIL:
        return read
    return inconclusive(f"{ran.reason}; {read.reason}", read.findings, read.strength)


def early_uses(order: LearningOrder | None, kind: str, does: str) -> Judgement | None:
    """What early uses of one kind amount to; `does` says what such a line does with tokens."""
    early = [use for use in order.early if use.kind == kind] if order else []
    if order is None or not early:
        return None
    certain = [use for use in early if use.sure and not use.doubts]
    if certain:
        shown = [_early(use, does) for use in certain]
        return failed(Strength.SOURCE, shown, f"read in the source; {order.headline}")
    doubts = [doubt for use in early for doubt in use.doubts]
    why = "the source may do it, but not beyond doubt with the same tokens of the claimed score"
    return inconclusive(
        open_setting(doubts) if doubts else why,
        [_early(use, does) for use in early],
        Strength.SOURCE,
    )


def lines_on_the_way(
    order: LearningOrder | None, lines: Sequence[Line], say: Callable[[Line], str]
) -> Judgement | None:
    """What lines amount to that the claimed score came through; `say` words the finding of one."""
    if order is None or not lines:
        return None
    findings = [
        Finding(
            say(one),
            Location(file=one.file, line=one.line, text=one.text),
            {"report_line": one.report_line},
        )
        for one in lines
    ]
    doubts = [doubt for one in lines for doubt in one.doubts]
    if order.headline is not None and not doubts:
        return failed(Strength.SOURCE, findings, f"read in the source; {order.headline}")
    why = open_setting(doubts) if doubts else "which print states the claimed score is a guess"
    return inconclusive(why, findings, Strength.SOURCE)


def open_setting(doubts: Sequence[str]) -> str:
    """That a setting decides, and nothing says how it was."""
    return (
        f"{doubts[0]} follows neither from the source, nor from the README's run lines, nor from a "
        "log"
    )


def _early(use: EarlyUse, does: str) -> Finding:
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
