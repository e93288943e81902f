"""Reads of tables by an index that the token being predicted is part of.

What is found: an index that mixes context tokens with the target by a hashing operation (xor, or
modulo, mask and shift over a sum or product of both), a table read by it, and a charge (a
logarithm) that the entry read comes into. What is not: rows of the whole vocabulary with the target
as the column, byte tables read by the target alone, hashes of tokens that are the model's input,
counts that are only incremented, tables that store the exact key and compare it.

Whether the entry point gets there is decided by the guards on the way, under the defaults of the
source and the run lines of the README. What stays open is closed only by a log: a line that the
guarded branch prints, or, for guards that depend on the data alone, a final score so far below the
earlier stages that only the mechanism explains it. Without any log, a guard that only asks whether
there is anything to do (`if mask.any()`) is taken to hold somewhere in a whole split, and a claim
that nothing else brings about shows that what the entry point may call was called.

How it can be wrong: the target is recognised by the names that scripts give it (`y`, `tgt`,
`target_ids`), and as the element that follows a context in the same array; the latter is a guess,
and counts only beside a gain that no table of contexts has brought about. Another name hides the
target; a context that is called `y` shows a read that is none, unless the operations differ. Calls
through values (`table[name](...)`) are not followed.
"""

import ast
from dataclasses import replace
from functools import lru_cache

from auditor.errors import CannotMeasure
from auditor.evidence import DataFlow, RunLog, TargetRead
from auditor.inspect.calls import CallGraph
from auditor.inspect.config import UNKNOWN
from auditor.inspect.program import Program
from auditor.inspect.source import Module
from auditor.inspect.taint import Taint, TooLong
from auditor.inspect.tree import walk
from auditor.inspect.units import Guard, Reach, Unit
from auditor.inspect.values import Function, Place, Seen

GAP_BPB = 0.05
"""Adaptation and sliding windows gain at most 0.04 on honest records; hashed tables 0.1 to 1."""
GAP_TRAINED_BPB = 0.3
"""The same against the last validation of training, to which sliding windows add some 0.03."""
FAR_BPB = 0.3
"""No table that is read as a distribution gained a tenth of it over a trained model."""
NOBODY_BPB = 0.5
"""Half of what the best accepted record has; scores below it were no code lengths."""

_Gap = tuple[float, str]
"""How far a score stands below another, and in words."""


def read_data_flow(program: Program) -> DataFlow:
    """Follow the tokens, and decide which of the reads the entry point gets to."""
    try:
        seen = _seen(program.modules)
        found = {
            place: (function, key)
            for place, (function, key) in sorted(seen.reads.items())
            if place in seen.fed and (function is None or function.node.name not in seen.exact)
        }
        reads: tuple[TargetRead, ...] = ()
        if found:
            judge = _Reachability(program)
            reads = tuple(
                _doubted(judge.read(place, *by), seen, judge.gains_far)
                for place, by in found.items()
            )
    except (RecursionError, TooLong) as error:
        raise CannotMeasure(
            f"{program.modules[0].path}: the program is too large or too deep to be followed"
        ) from error
    return DataFlow(
        files=tuple(module.path for module in program.modules),
        unread=program.unread,
        target_reads=reads,
        table_reads=len(seen.tables),
    )


@lru_cache(maxsize=2)
def _seen(modules: tuple[Module, ...]) -> Seen:
    """What following the tokens finds, whatever the configuration; kept for folders alike."""
    return Taint(modules).run()


def _doubted(read: TargetRead, seen: Seen, gains_far: bool) -> TargetRead:
    """A read that may be harmless is not said to be reached."""
    if read.reached is not True:
        return read
    if read.function in seen.summed:
        why = "the same function reads the table for every token, and may divide by their sum"
        return replace(read, reached=None, why=why)
    if (read.file, read.key_line) in seen.guessed and not gains_far:
        why = "which token is being predicted is taken from its place in the stream alone"
        return replace(read, reached=None, why=f"{why}; {read.why}")
    return read


class _Reachability:
    """Decides whether the entry point gets to a read."""

    def __init__(self, program: Program) -> None:
        """Find out what the entry point gets to."""
        self._graph = CallGraph(program.modules, program.config, program.lines.shows)
        self._state = self._graph.reach()
        self._launch = program.launch
        self._logs = program.logs
        claimed = program.claims.val_bpb if program.claims else None
        gap = _largest_gap(program.claimed) or _gap_of_all(program.logs, claimed)
        if gap is None and not program.logs and claimed is not None and claimed < NOBODY_BPB:
            words = f"the claimed {claimed} bpb, for which there is no log, is less than half of"
            gap = FAR_BPB, f"{words} what any score is that was found to be a code length"
        self._gap = gap and gap[1]
        self.gains_far = gap is not None and gap[0] >= FAR_BPB
        # Any log may show that the source does more than it seems to.
        self._doubt = (_largest_gap(self._logs) or (0, None))[1]

    def read(self, place: Place, function: Function | None, key: Place) -> TargetRead:
        """Everything about one read."""
        path, line = place
        module = self._module(path)
        unit = self._graph.unit_at(path, line)
        reached, why = self._reached(unit, line)
        return TargetRead(
            file=path,
            line=line,
            text=module.text(line),
            function=function.node.name if function else "<module>",
            key_line=key[1],
            key_text=self._module(key[0]).text(key[1]),
            reached=reached,
            why=why,
        )

    def _module(self, path: str) -> Module:
        return next(unit.module for unit in self._graph.units if unit.module.path == path)

    def _reached(self, unit: Unit | None, line: int) -> tuple[bool | None, str]:
        """Whether the entry point gets to a line of a unit, and how that is known."""
        if unit is None:
            return None, "the place of the read is not part of a function that was followed"
        here = self._state[id(unit)]
        reach = here
        if here.sure is not False:
            reach = self._graph.through(here, unit, unit.guards_at.get(line, ()))
        if reach.sure is False:
            return self._not_reached(unit, reach)
        settings = [(where, guard) for where, guard in reach.open if self._configured(guard)]
        if settings:
            where, guard = settings[0]
            return None, (
                f"whether {_shown(guard)} holds ({where.module.path}:{guard.test.lineno}) follows "
                "neither from the source, nor from the README's run lines, nor from a log"
            )
        if self._gap is not None:
            return True, f"called under the effective configuration; {self._gap}"
        if not self._logs and all(
            _asks_for_anything(guard) or self._begins(where, guard) for where, guard in reach.open
        ):
            return True, "called on every run under the effective configuration"
        return None, (
            "the entry point calls it, but no log of the claimed score shows a stage as far below "
            f"an earlier one ({GAP_BPB} bpb) as such a read brings about"
        )

    def _not_reached(self, unit: Unit, reach: Reach) -> tuple[bool | None, str]:
        """A function that is not called, or a guard that is false."""
        why = f"nothing that the entry point reaches calls {unit.name}"
        if reach.open:
            where, guard = reach.open[0]
            why = f"{_shown(guard)} does not hold ({where.module.path}:{guard.test.lineno})"
        if self._doubt is not None:
            return None, f"the source seems not to get there ({why}), but {self._doubt}"
        if not reach.open:
            return False, why
        if self._launch.lines == 0:
            return None, f"{why} by default, and the README has no run line that could change it"
        return False, f"{why} under the README's run lines"

    def _begins(self, where: Unit, guard: Guard) -> bool:
        """Whether a test is the one by which a script asks if it is the one that was started."""
        named = ast.unparse(guard.test).replace('"', "'") == "__name__ == '__main__'"
        return named and guard.wanted and where.module is self._graph.units[0].module

    def _configured(self, guard: Guard) -> bool:
        """Whether a test is open because of the configuration, and not of the data alone."""
        config = self._graph.config
        for node in walk(guard.test):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in ("environ", "getenv", "args"):
                return True
            if name in config.names and config.value(node, {}) is UNKNOWN:  # type: ignore[arg-type]  # a name
                return True
        return False


def _shown(guard: Guard) -> str:
    """A guard as people write it."""
    text = ast.unparse(guard.test)[:120]
    return f"`{text}`" if guard.wanted else f"`not ({text})`"


def _asks_for_anything(guard: Guard) -> bool:
    """Whether a guard only asks if there is anything to do at this place of the stream."""
    match guard.test:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _asks_for_anything(Guard(inner, not guard.wanted))
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) is guard.wanted:
            return all(_asks_for_anything(Guard(value, guard.wanted)) for value in values)
        case ast.Call(func=ast.Attribute(attr="any") | ast.Name(id="any" | "len")):
            return guard.wanted
        case ast.Compare(left=ast.Subscript(), ops=[op], comparators=[ast.Constant(value=None)]):
            return isinstance(op, ast.IsNot) is guard.wanted
        case ast.Compare(ops=[op], comparators=[ast.Constant(value=0)]):
            some, none = isinstance(op, ast.Gt | ast.NotEq), isinstance(op, ast.LtE | ast.Eq)
            return some if guard.wanted else none
    return False


def _gap_of_all(logs: tuple[RunLog, ...], claimed_bpb: float | None) -> _Gap | None:
    """The same where no log ends near the claim: all of them, and the claim, stand so far below."""
    gaps = [_largest_gap((log,)) for log in logs]
    if claimed_bpb is None or not gaps or None in gaps:
        return None
    for log in logs:
        stages = [score.val_bpb for score in log.scores if not score.during_training][:-1]
        if not stages or max(stages) - claimed_bpb <= GAP_BPB:
            return None
    least = min(gap for gap in gaps if gap is not None)
    return least[0], f"no log ends near the claimed {claimed_bpb} bpb, but {least[1]}"


def _largest_gap(logs: tuple[RunLog, ...]) -> _Gap | None:
    """Where a final score stands furthest below an earlier stage of the same log."""
    gaps = []
    for log in logs:
        final = log.final
        if final is None or final.during_training:
            continue
        earlier = [score for score in log.scores if score.line < final.line]
        trained = [score for score in earlier if score.during_training][-1:]
        for stage in [score for score in earlier if not score.during_training] + trained:
            gap = stage.val_bpb - final.val_bpb
            if gap > (GAP_TRAINED_BPB if stage.during_training else GAP_BPB):
                words = (
                    f"the final score of {log.file} ({final.val_bpb} bpb, line {final.line}) is "
                    f"{gap:.4f} below that of its stage {stage.label} (line {stage.line})"
                )
                gaps.append((gap, words))
    return max(gaps) if gaps else None
