"""What a program holds in the analysis of order: objects, names, loops, and what was learnt."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.order.values import (
    NOTHING,
    VALIDATION,
    Charge,
    Learnt,
    Loops,
    Object,
    Region,
    Turn,
    Value,
    cut,
    join,
    overlap,
)
from auditor.inspect.order.vocabulary import OPAQUE
from auditor.inspect.source import Module
from auditor.inspect.values import Place


class Env:
    """Names of a function, and behind them those of what it stands in.

    A `ChainMap` without what nobody asks of it: names are looked up all the time.
    """

    __slots__ = ("maps",)

    def __init__(self, *maps: dict[str, Value]) -> None:
        """Begin with these, innermost first."""
        self.maps = maps

    def get(self, name: str, default: Any = None) -> Any:
        """The innermost value of a name."""
        for names in self.maps:
            if name in names:
                return names[name]
        return default

    def __contains__(self, name: object) -> bool:
        """Whether any of them has the name."""
        for names in self.maps:  # noqa: SIM110 - a third of the time of `any`
            if name in names:
                return True
        return False

    def __getitem__(self, name: str) -> Value:
        """The innermost value of a name that there is."""
        for names in self.maps:
            if name in names:
                return names[name]
        raise KeyError(name)

    def __setitem__(self, name: str, value: Value) -> None:
        """Set a name of the function itself."""
        self.maps[0][name] = value


class Locals(Mapping[str, list[ast.expr]]):
    """Names of an environment as the configuration asks for them."""

    def __init__(self, env: Env) -> None:
        """Look into this environment."""
        self._env = env

    def __getitem__(self, name: str) -> list[ast.expr]:
        """Known constants have one value, everything else none."""
        constant = self._env[name].constant
        return [] if constant is UNKNOWN else [ast.Constant(constant)]

    def __contains__(self, name: object) -> bool:
        """Whether the program has assigned it."""
        return name in self._env

    def __iter__(self) -> Iterator[str]:
        """All names."""
        return iter({name for names in self._env.maps for name in names})

    def __len__(self) -> int:
        """How many."""
        return len(set().union(*self._env.maps))


class Memory(ABC):
    """A heap of objects, the loops that run, and what tokens meet."""

    def __init__(self, config: Config, classes: Mapping[str, list[str]]) -> None:
        """Start with nothing learnt; `classes` gives the bases of every class."""
        self.config = config
        self.classes = classes
        self.globals = Env({})
        self.heap: dict[int, Object] = {}
        self.loops = Loops()
        self.doubts: list[str] = []
        self.changed: list[dict[str, Value]] = [{}]
        """What was put into a name in place, of every function that runs."""
        self.left: dict[str, Value] = {}
        """The same of the function that ended last."""
        self.versions: dict[tuple[int, str], int] = {}
        """How often a name of an environment was set, by the identity of its dictionary."""
        self._serials: dict[int, int] = {}
        self._environments: list[object] = []
        """Kept, or another could get the identity of one that is gone."""
        self.moving: set[str] = set()
        """Attributes that count something up."""
        self.clock = 0
        self._objects = 0
        self.module: Module | None = None

    @abstractmethod
    def value(self, node: ast.expr | None, env: Env) -> Value:
        """What an expression may be."""

    # --- tokens meet what has learnt -----------------------------------------------------------

    def used(self, line: int, *values: Value) -> Value:
        """Several values in one operation: where tokens meet what has learnt, they are charged."""
        whole = join([value.whole() for value in values])
        if not whole.regions:
            return whole
        learnt = set(self.learnt_by(whole))
        if not whole.refs and not learnt:
            return whole
        return whole.but(
            regions=frozenset(),
            through=cut(whole.through | whole.regions),
            refs=frozenset(),
            deps=cut(whole.deps | whole.refs),
            marks=frozenset(),
            settled=cut(whole.settled | learnt),
            charges=cut(whole.charges | set(self._charges(line, learnt, whole.regions))),
        )

    def _charges(
        self, line: int, learnt: set[Learnt], regions: frozenset[Region]
    ) -> Iterator[Charge]:
        place, doubts = self.place(line), frozenset(self.doubts)
        early = False
        # Tokens of earlier turns are what comes before; learning from them is what is allowed.
        regions = frozenset(region for region in regions if region.is_of_this_turn(self.loops))
        for mark in learnt:
            found = {self._overlap(mark, region) for region in regions}
            if found & {True, None}:
                early = True
                yield Charge(place, mark, True in found, doubts | mark.doubts)
        if not early and any(region.split == VALIDATION for region in regions):
            yield Charge(place, None)

    def _overlap(self, mark: Learnt, region: Region) -> bool | None:
        """Whether tokens in use were learnt; what no loop moves may be a figure of all of them."""
        found = overlap(mark, region, self.loops)
        moved = any(loop in self.loops.running for link in region.links for loop, _ in link.turns)
        return None if found and self.loops.running and not moved else found

    # --- learning ------------------------------------------------------------------------------

    def learning(self, kind: str, line: int, regions: frozenset[Region]) -> Iterator[Learnt]:
        """What tokens are learnt from here and now, and under which doubts."""
        for region in regions:
            yield Learnt(
                kind,
                self.place(line),
                region,
                frozenset(self.loops.running),
                frozenset(self.doubts),
            )

    def learnt_by(self, value: Value) -> frozenset[Learnt]:
        """What a value and the objects that it is have learnt."""
        marks = value.marks
        for ref in value.refs:
            marks = marks | self.heap[ref].marks
        return marks

    def backward(self, node: ast.Call, value: Value) -> None:
        """Gradients of a result, for the objects that it was computed with."""
        learnt = frozenset(self.learning("step", node.lineno, value.regions | value.through))
        for ref in value.deps | value.refs:
            self.heap[ref].pending = cut(self.heap[ref].pending | learnt)

    def step(self, refs: frozenset[int]) -> None:
        """Objects take what their gradients hold."""
        for ref in refs:
            thing = self.heap[ref]
            thing.marks = cut(thing.marks | thing.pending)
            thing.pending = frozenset()

    def take_over(self, on: Value, given: Value, line: int) -> None:
        """An object holds another's values from now on, and what these had learnt."""
        data = frozenset(self.learning("data", line, given.regions | given.through))
        for ref in on.refs:
            self.heap[ref].marks = cut(self.learnt_by(given) | data)

    # --- objects -------------------------------------------------------------------------------

    def allocate(self, marks: frozenset[Learnt] = frozenset(), kind: str | None = None) -> Value:
        """A new object."""
        self._objects += 1
        self.heap[self._objects] = Object(marks)
        return Value(
            refs=frozenset({self._objects}),
            classes=frozenset({kind} if kind else ()),
            turns=self.now(),
        )

    def copied(self, value: Value) -> Value:
        """An object of its own with what another has learnt."""
        copy = self.allocate(self.learnt_by(value))
        for ref in value.refs:
            for made in copy.refs:
                self.heap[made].attributes.update(self.heap[ref].attributes)
        return value.but(refs=copy.refs, deps=frozenset())

    def opaque(self, name: str | None) -> bool:
        """Whether a class is a kind of a library's module or optimiser."""
        seen: set[str] = set()
        queue = [name or ""]
        while queue:
            one = queue.pop()
            if one in OPAQUE:
                return True
            if one not in seen:
                seen.add(one)
                queue += self.classes.get(one, [])
        return False

    def opaque_object(self, ref: int) -> bool:
        """Whether an object is a library's."""
        return not self.heap[ref].attributes

    def write(self, base: ast.expr, index: Value, value: Value, node: ast.AST, env: Env) -> None:
        """An entry at an index that may be made of tokens was changed."""
        line = getattr(node, "lineno", 0)
        held = self.value(base, env).whole()
        if value.charges or value.through or held.charges or held.through:
            index = index.number()  # sums of results, or results that are put right: no counts
        marks = frozenset(self.learning("table", line, index.regions)) | value.marks
        kept = value.but(marks=marks, refs=frozenset(), functions=frozenset(), items=())
        if index.regions:
            kept = kept.but(regions=frozenset())
        self.mutate(base, kept, env)

    def mutate(self, node: ast.expr, value: Value, env: Env) -> None:
        """A value was put into what an expression names."""
        value = value.whole()
        if isinstance(node, ast.Name):
            old = env.get(node.id, NOTHING)
            for ref in old.refs:
                self.heap[ref].marks = cut(self.heap[ref].marks | value.marks)
            env[node.id] = (old | value).whole()
            self.put(node.id, value)
        elif isinstance(node, ast.Attribute):
            for ref in self.value(node.value, env).whole().refs:
                old = self.heap[ref].attributes.get(node.attr, NOTHING)
                self.heap[ref].attributes[node.attr] = (old | value).whole()
                if not old.marks and self.opaque_object(ref):
                    self.heap[ref].marks = cut(self.heap[ref].marks | value.marks)
        elif isinstance(node, ast.Subscript):
            self.mutate(node.value, value, env)

    # --- names, loops, places ------------------------------------------------------------------

    def new_environment(self, around: Env) -> Env:
        """Names of a function that begins."""
        env = Env({}, *around.maps)
        self._environments.append(env.maps[0])
        self._serials[id(env.maps[0])] = len(self._environments)
        return env

    def set(self, env: Env, name: str, value: Value) -> None:
        """Give a name of an environment a value."""
        env[name] = value
        key = id(env.maps[0]), name
        self.versions[key] = self.versions.get(key, 0) + 1

    def put(self, name: str, value: Value) -> None:
        """Note that a value went into what a name holds, which a caller may hold too."""
        kept = value.but(refs=frozenset(), functions=frozenset(), items=())
        self.changed[-1][name] = self.changed[-1].get(name, NOTHING) | kept

    def now(self) -> frozenset[Turn]:
        """Turns of all loops that run."""
        return frozenset(self.loops.running.items())

    def place(self, line: int) -> Place:
        """A line of the module that runs."""
        return (self.module.path if self.module else "", line)
