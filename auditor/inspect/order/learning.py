"""Evidence of order: what had learnt from validation tokens when the claimed score was made.

Which print states the claimed score is found in the log of a run: its line begins as the print
does. Without a log it is the last print of a score.
"""

from collections.abc import Iterator

from auditor.errors import CannotMeasure
from auditor.evidence import (
    EarlyUse,
    LearningOrder,
    Mixed,
    OnTheWay,
    RunLog,
    SavedLearning,
    ScoreLine,
)
from auditor.inspect.mixtures import KNOWN, SPELLED, WEIGHED
from auditor.inspect.order.library import Report
from auditor.inspect.order.machine import Machine
from auditor.inspect.order.values import TRAINING, VALIDATION, Charge, Learnt
from auditor.inspect.program import Program
from auditor.inspect.taint import TooLong
from auditor.inspect.values import Place

SAME_BPB = 0.004
"""A seed lies this close to the mean that is claimed."""
MIN_MATCH = 5
"""Characters of a print that must stand in a log's line."""


def read_learning_order(program: Program) -> LearningOrder:
    """Run the program on abstract values, and see what the claimed score had seen."""
    machine = Machine(program.modules, program.config, program.lines.shows)
    try:
        machine.run()
    except (RecursionError, TooLong) as error:
        raise CannotMeasure(
            f"{program.modules[0].path}: the program is too large or too deep to be followed"
        ) from error
    return learning_order(machine, program)


def learning_order(machine: Machine, program: Program) -> LearningOrder:
    """What a finished run says about the claimed score."""
    texts = {module.path: module for module in program.modules}

    def text(place: Place) -> str:
        return texts[place[0]].text(place[1]) if place[0] in texts else ""

    headline, how = _headline(machine.reports, program)
    early: dict[tuple[str, Place, Place], EarlyUse] = {}
    chosen: dict[Place, OnTheWay] = {}
    rooted: dict[Place, OnTheWay] = {}
    mixed: dict[tuple[str, Place], Mixed] = {}
    covered: dict[Place, OnTheWay] = {}
    tables: dict[Place, OnTheWay] = {}

    def note(found: dict[Place, OnTheWay], place: Place, report: Report, doubts: set[str]) -> None:
        found[place] = OnTheWay(
            file=place[0],
            line=place[1],
            text=text(place),
            report_line=report.place[1],
            doubts=tuple(sorted(doubts | report.doubts)),
        )

    for report in headline:
        for charge, learnt in _early(report):
            key = learnt.kind, learnt.place, charge.place
            doubts = tuple(sorted(charge.doubts | report.doubts))
            use = EarlyUse(
                kind=learnt.kind,
                file=learnt.place[0],
                line=learnt.place[1],
                text=text(learnt.place),
                charge_file=charge.place[0],
                charge_line=charge.place[1],
                charge_text=text(charge.place),
                report_line=report.place[1],
                sure=charge.sure and how is not None,
                doubts=doubts,
            )
            old = early.get(key)
            if old is None or (use.sure, -len(use.doubts)) > (old.sure, -len(old.doubts)):
                early[key] = use
        for place in report.value.places("chosen"):
            note(chosen, place, report, set())
        for place in report.value.places("rooted"):
            note(rooted, place, report, set())
        for place in report.value.places("covered"):
            note(covered, place, report, set())
        for kind in (WEIGHED, KNOWN, SPELLED):
            for place in report.value.places(kind):
                mixed[kind, place] = Mixed(
                    kind=kind,
                    file=place[0],
                    line=place[1],
                    text=text(place),
                    report_line=report.place[1],
                    doubts=tuple(sorted(report.doubts)),
                )
        for mark in report.value.marks | report.value.settled:
            if mark.kind == "table" and mark.region.split == TRAINING:
                note(tables, mark.place, report, set(mark.doubts))
    last = max((report.order for report in headline), default=0)
    scored = {(use.file, use.line) for use in early.values() if use.sure and not use.doubts}
    saved: dict[Place, SavedLearning] = {}
    for written in machine.serialised:
        for mark in written.value.marks:
            if mark.region.split == VALIDATION and written.order < last:
                saved[mark.place] = SavedLearning(
                    kind=mark.kind,
                    file=mark.place[0],
                    line=mark.place[1],
                    text=text(mark.place),
                    saved_file=written.place[0],
                    saved_line=written.place[1],
                    saved_text=text(written.place),
                    scored=mark.place in scored,
                    doubts=tuple(sorted(mark.doubts)),
                )
    return LearningOrder(
        files=tuple(module.path for module in program.modules),
        unread=program.unread,
        headline=how,
        early=tuple(early[key] for key in sorted(early)),
        chosen=tuple(chosen[key] for key in sorted(chosen)),
        rooted=tuple(rooted[key] for key in sorted(rooted)),
        mixed=tuple(mixed[key] for key in sorted(mixed)),
        covered=tuple(covered[key] for key in sorted(covered)),
        tables=tuple(tables[key] for key in sorted(tables)),
        saved=tuple(saved[key] for key in sorted(saved)),
    )


def _early(report: Report) -> Iterator[tuple[Charge, Learnt]]:
    for charge in report.value.charges:
        if charge.learnt is not None and charge.learnt.region.split == VALIDATION:
            yield charge, charge.learnt


def _headline(reports: list[Report], program: Program) -> tuple[list[Report], str | None]:
    """The prints of the claimed score, and how they were found; None when that is a guess."""
    scored = [report for report in reports if report.value.charges]
    for log, score in _claimed_lines(program):
        line = program.submission.files[log.file].text.splitlines()[score.line - 1]
        fits = [r for r in scored if len(r.text) >= MIN_MATCH and r.text in line]
        if fits:
            longest = max(len(report.text) for report in fits)
            found = [report for report in fits if len(report.text) == longest]
            return found, f"{log.file}:{score.line} states the score that it prints"
    stated = [r for r in scored if "bpb" in r.text.lower() or "loss" in r.text.lower()]
    last = (stated or scored)[-1:]
    return last, None if program.logs else "it is the last score that the script prints"


def _claimed_lines(program: Program) -> Iterator[tuple[RunLog, ScoreLine]]:
    """Lines that state what is claimed, nearest first, and then those that logs end with."""
    claims = program.claims
    near = []
    for log in program.logs:
        value = claims.seed_val_bpb.get(str(log.seed), claims.val_bpb) if claims else None
        if value is not None and log.scores:
            score = min(log.scores, key=lambda one: abs(one.val_bpb - value))
            if abs(score.val_bpb - value) < SAME_BPB:
                near.append((abs(score.val_bpb - value), log, score))
    for _, log, score in sorted(near, key=lambda one: one[0]):
        yield log, score
    for log in program.claimed:
        if log.final is not None:
            yield log, log.final
