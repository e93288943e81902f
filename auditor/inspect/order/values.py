"""What a value stands for, in the analysis of order: tokens, objects, and what was learnt.

A region says which tokens: a split, and the slices taken of it, each with the turns of the loops
that its bounds vary with. Two regions with the same turns of the same slice are the same tokens; a
loop that has come to its end has taken all of its slices.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from auditor.inspect.config import UNKNOWN
from auditor.inspect.values import Function, Place

Turn = tuple[int, int]
"""A loop, by the number of its entry, and its turn."""
VALIDATION, TRAINING = "validation", "training"
T = TypeVar("T")
MAX_SET = 48
"""Elements of a set that are kept; programs of this benchmark have a few."""


class Link(NamedTuple):
    """One slice taken of tokens."""

    place: Place
    turns: frozenset[Turn]
    site: object = None
    """The function call in which it was taken, and in which words."""
    partial: bool = False
    """Whether a loop that has ended took some of its turns, and not all."""


@dataclass(slots=True)
class Loops:
    """The loops of a run."""

    running: dict[int, int] = field(default_factory=dict)
    """Loop -> its turn."""
    open_ended: set[int] = field(default_factory=set)
    """Those that count nothing: what differs from turn to turn may not be seen."""
    sweeping: set[int] = field(default_factory=set)
    """Those with as many turns as there are tokens, documents or chunks."""


class Region(NamedTuple):
    """Tokens of a split."""

    split: str
    links: tuple[Link, ...] = ()

    def now(self, loops: "Loops") -> "Region":
        """The same tokens in terms of the loops that still run.

        What a loop over all tokens has taken, when it has come to its end, is all of them; what
        another loop has taken is some part that nothing more is known of.
        """
        if not self.links:
            return self
        links: list[Link] = []
        swept = False
        for link in self.links:
            turns = frozenset(turn for turn in link.turns if turn[0] in loops.running)
            gone = {loop for loop, _ in link.turns} - loops.running.keys()
            if link.turns and not turns and gone & loops.sweeping:
                swept = True
            elif turns or not swept:
                partial = link.partial or bool(gone - loops.sweeping)
                links.append(Link(link.place, turns, link.site, partial))
        return Region(self.split, tuple(links))

    def is_of_this_turn(self, loops: "Loops") -> bool:
        """Whether no slice of it was left by an earlier turn of a loop that still runs."""
        return all(
            (loop, loops.running[loop]) in link.turns
            for link in self.links
            for loop, _ in link.turns
            if loop in loops.running
        )

    def sliced(self, place: Place, turns: frozenset[Turn], site: object = None) -> "Region":
        """A part of these tokens."""
        return Region(self.split, (*self.links, Link(place, turns, site))[:MAX_SET])


class Learnt(NamedTuple):
    """Something took tokens in."""

    kind: str
    """`step` of an optimiser, `table` written at an index made of tokens, or `data` of a file."""
    place: Place
    region: Region
    born: frozenset[int] = frozenset()
    """Loops that ran then."""
    doubts: frozenset[str] = frozenset()
    """Settings on which it hangs that could not be decided."""


class Charge(NamedTuple):
    """Tokens met something that had learnt, or not yet learnt, from them."""

    place: Place
    learnt: Learnt | None
    """What had taken the same tokens in before; None for a use of something that had not."""
    sure: bool = True
    doubts: frozenset[str] = frozenset()


class Note(NamedTuple):
    """Something that was done on the way to a value."""

    kind: str
    """`chosen`, the smaller of two losses; `spread`, the log of a token's probability divided by
    its bytes; `rooted`, that taken for the probability of a byte; `own-loss`, what a weight was
    made from, and what may be wrong with a mixture; `stored`, read from a file; `agreed`, where
    that is equal to validation tokens; `covered`, a loss that was set to nothing there; `setting`,
    what follows from the configuration, and is not known."""
    place: Place


SETTING = Note("setting", ("", 0))
"""One for all of them, or they would fill a value's notes."""


@dataclass(slots=True)
class Value:
    """What an expression may be; never changed once it is made, and not frozen for speed alone.

    Tokens that met a model or a table make a result: what both were is kept apart from then on, so
    that sums of results are not taken for tokens.
    """

    regions: frozenset[Region] = frozenset()
    """Tokens."""
    through: frozenset[Region] = frozenset()
    """Tokens that it is a result of."""
    turns: frozenset[Turn] = frozenset()
    """Loops that it varies with."""
    refs: frozenset[int] = frozenset()
    """Objects that it is, or is a part of."""
    deps: frozenset[int] = frozenset()
    """Objects that it was computed with."""
    marks: frozenset[Learnt] = frozenset()
    """What it took in itself."""
    settled: frozenset[Learnt] = frozenset()
    """What had been taken in by that which it is a result of."""
    charges: frozenset[Charge] = frozenset()
    notes: frozenset[Note] = frozenset()
    """What was done on the way to it that rules ask for."""
    loss: bool = False
    extent: bool = False
    """Whether it says how many tokens, documents or chunks there are."""
    functions: frozenset[Function] = frozenset()
    classes: frozenset[str] = frozenset()
    items: tuple["Value", ...] = ()
    constant: Any = field(default=UNKNOWN, compare=False)

    def __or__(self, other: "Value") -> "Value":
        """Either of two."""
        if other is NOTHING or self is other:
            return self if self.constant is UNKNOWN or self is other else self.but(constant=UNKNOWN)
        if self._has_all_of(other):
            return self if self.constant is UNKNOWN else self.but(constant=UNKNOWN)
        if self is NOTHING:
            plain = not other.items and other.constant is UNKNOWN
            return other if plain else other.but(items=(), constant=UNKNOWN)
        same = len(self.items) == len(other.items)
        equal = self.constant is not UNKNOWN and _equal(self.constant, other.constant)
        return Value(
            regions=_union(self.regions, other.regions),
            through=_union(self.through, other.through),
            turns=_union(self.turns, other.turns),
            refs=_union(self.refs, other.refs),
            deps=_union(self.deps, other.deps),
            marks=_union(self.marks, other.marks),
            settled=_union(self.settled, other.settled),
            charges=_union(self.charges, other.charges),
            notes=_union(self.notes, other.notes),
            loss=self.loss or other.loss,
            extent=self.extent or other.extent,
            functions=_union(self.functions, other.functions),
            classes=_union(self.classes, other.classes),
            items=tuple(a | b for a, b in zip(self.items, other.items, strict=True))
            if same and self.items
            else (),
            constant=self.constant if equal else UNKNOWN,
        )

    def but(self, **changes: Any) -> "Value":
        """The same with some fields changed; written out, since it is called most of all."""
        made = Value.__new__(Value)
        made.regions = self.regions
        made.through = self.through
        made.turns = self.turns
        made.refs = self.refs
        made.deps = self.deps
        made.marks = self.marks
        made.settled = self.settled
        made.charges = self.charges
        made.notes = self.notes
        made.loss = self.loss
        made.extent = self.extent
        made.functions = self.functions
        made.classes = self.classes
        made.items = self.items
        made.constant = self.constant
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def _has_all_of(self, other: "Value") -> bool:
        """Whether a join would change nothing; mostly the other varies with loops and no more."""
        return not (
            self.items
            or other.regions
            or other.through
            or other.refs
            or other.deps
            or other.marks
            or other.settled
            or other.charges
            or other.notes
            or other.functions
            or other.classes
            or (other.loss and not self.loss)
            or (other.extent and not self.extent)
        ) and (not other.turns or other.turns <= self.turns)

    def noted(self, kind: str, places: Iterable[Place]) -> "Value":
        """The same with a note of this kind for each place."""
        made = {Note(kind, place) for place in places}
        return self.but(notes=cut(self.notes | made)) if made else self

    def places(self, kind: str) -> frozenset[Place]:
        """Where something of this kind was done."""
        if not self.notes:
            return frozenset()
        return frozenset(note.place for note in self.notes if note.kind == kind)

    def whole(self) -> "Value":
        """With all its items in one, and no longer a known constant."""
        if not self.items and self.constant is UNKNOWN:
            return self
        if self.items:
            return (join(self.items) | self).but(items=(), constant=UNKNOWN)
        return NOTHING if NOTHING._has_all_of(self) else self.but(constant=UNKNOWN)

    @property
    def is_nothing(self) -> bool:
        """Whether it is equal to `NOTHING`."""
        return self is NOTHING or (not self.items and NOTHING._has_all_of(self))

    @property
    def is_setting(self) -> bool:
        """Whether it follows from the configuration alone, and nobody knows how."""
        data = self.regions or self.through or self.refs or self.deps or self.marks or self.loss
        return not data and self.constant is UNKNOWN and SETTING in self.notes

    def number(self) -> "Value":
        """What a size or a count keeps."""
        extent = self.extent or bool(self.regions)
        return Value(turns=self.turns, extent=extent) if self.turns or extent else NOTHING


def advanced(turns: frozenset[Turn], loop: int, turn: int) -> frozenset[Turn]:
    """The same in another turn of a loop."""
    return frozenset(one for one in turns if one[0] != loop) | {(loop, turn)}


_text = lru_cache(maxsize=4096)(repr)
"""Sets that are cut over and over hold the same elements, with long texts."""


def cut(values: frozenset[T]) -> frozenset[T]:
    """Keep a set bounded."""
    return values if len(values) <= MAX_SET else frozenset(sorted(values, key=_text)[:MAX_SET])


def _union(one: frozenset[T], other: frozenset[T]) -> frozenset[T]:
    """Either; most often one of them is empty, or they are the same."""
    if not other or one is other:
        return one
    if not one:
        return other
    return cut(one | other)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


NOTHING = Value()


def join(values: Iterable[Value]) -> Value:
    """Any of several."""
    result: Value | None = None
    for value in values:
        result = value if result is None else result | value
    return result or NOTHING


@dataclass(slots=True)
class Object:
    """A model, a table or a plain object, with what it has learnt."""

    marks: frozenset[Learnt] = frozenset()
    pending: frozenset[Learnt] = frozenset()
    """Gradients that no step has taken yet."""
    attributes: dict[str, Value] = field(default_factory=dict)

    def copy(self) -> "Object":
        """The same, to be changed apart."""
        return Object(self.marks, self.pending, dict(self.attributes))

    def joined(self, other: "Object") -> "Object":
        """Either of two."""
        attributes = dict(self.attributes)
        for name, value in other.attributes.items():
            attributes[name] = attributes[name] | value if name in attributes else value
        return Object(self.marks | other.marks, self.pending | other.pending, attributes)


def overlap(learnt: Learnt, use: Region, loops: Loops) -> bool | None:
    """Whether the tokens used are among those learnt: True when sure, None when perhaps."""
    if learnt.region.split != use.split:
        return False
    taken, used = learnt.region.now(loops), use.now(loops)
    varies = {loop for link in used.links for loop, _ in link.turns}
    follows = {loop for link in taken.links for loop, _ in link.turns}
    # Learnt in the very loop that scores, from tokens that do not follow its turn: which ones?
    running = learnt.born & loops.running.keys()
    unknown = running & (varies | loops.open_ended) - follows
    for a, b in zip(taken.links, used.links, strict=False):
        if a == b:
            continue
        both = {loop for loop, _ in a.turns} & {loop for loop, _ in b.turns}
        if any(_of(a, loop).isdisjoint(_of(b, loop)) for loop in both):
            return False
        nested = a.turns <= b.turns or b.turns <= a.turns
        if a.place == b.place and a.site == b.site and nested and not a.partial:
            break
        return None
    return None if unknown else True


def _of(link: Link, loop: int) -> set[int]:
    return {turn for one, turn in link.turns if one == loop}
