"""Expressions in the analysis of order: what a call of a library does to tokens and objects."""

import ast
import re
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.order.values import (
    NOTHING,
    TRAINING,
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
from auditor.inspect.source import Module
from auditor.inspect.values import Function, Place


class Env(ChainMap[str, Value]):
    """Names of a function, and behind them those of what it stands in; looked up all the time."""

    def get(self, name: str, default: Any = None) -> Any:
        """The innermost value of a name."""
        for names in self.maps:
            if name in names:
                return names[name]
        return default

    def __contains__(self, name: object) -> bool:
        """Whether any of them has the name."""
        return any(name in names for names in self.maps)


SIZES = frozenset(
    {"len", "size", "numel", "dim", "isinstance", "nbytes", "shape", "ndim", "dtype", "device",
     "zeros_like", "ones_like", "empty_like", "full_like", "is_available", "perf_counter", "time",
     "hasattr", "type", "id", "stat", "getsize", "exists"}
)  # fmt: skip
"""What is known of them is how much, and not what."""
LOSSES = frozenset(
    {"cross_entropy", "nll_loss", "log_softmax", "log", "log2", "logaddexp", "log1p", "logsumexp"}
)
COPIES = frozenset({"clone", "cpu", "copy", "tolist", "numpy", "state_dict", "named_buffers"})
SERIALISERS = frozenset({"save", "dump", "dumps", "savez", "savez_compressed", "compress"})
READERS = frozenset({"load", "loads", "decompress"})
RESETS = frozenset({"zero_", "fill_", "normal_", "uniform_", "init_", "clear", "zeros_"})
KEEPERS = frozenset(
    {"append", "appendleft", "extend", "insert", "push", "scatter_", "masked_scatter_", "put_"}
)
"""They put values into what they are called on."""
COUNTERS = frozenset(
    {"update", "add", "setdefault", "scatter_add_", "index_add_", "index_put_", "increment"}
)
"""They change an entry; which one, an index made of tokens may say."""
STEPS = frozenset({"add_", "sub_", "mul_", "lerp_", "addcdiv_"})
"""They change all of what they are called on."""
RANDOM = frozenset(
    {"randint", "randperm", "rand", "choice", "shuffle", "random", "permutation", "multinomial",
     "read", "readline", "unpack", "from_bytes", "pop", "popleft", "next", "recv", "get_nowait"}
)  # fmt: skip
"""Other in every turn of every loop."""
MANY = 8
"""Arguments that `*values` of unknown length may stand for."""
GATHERS = frozenset({"all_gather", "all_gather_object", "all_gather_into_tensor"})
"""What they put into their first argument is the second, of all processes."""
HISTOGRAMS = frozenset({"bincount", "Counter", "histc"})
MINIMA = frozenset({"minimum", "fmin", "min"})
PRINTERS = frozenset(
    {"print", "log", "log0", "log_fn", "logger", "info", "print0", "write", "printf"}
)
_SHARDS = re.compile(r"(?:fineweb|docs?)?_?(val|train)(?:idation)?(?:_|\b)")
_SPLIT_NAMES = {
    **dict.fromkeys(("val_tokens", "val_files", "val_data", "val_glob", "val_pattern", "val_shards",
                     "validation_tokens", "val_seq", "val_docs", "val_toks", "all_val_tokens"),
                    VALIDATION),
    **dict.fromkeys(("train_files", "train_tokens", "train_loader", "train_glob", "train_pattern",
                     "train_shards"), TRAINING),
}  # fmt: skip
_BYTES = re.compile(r"_lut$|bytes|leading_space|boundary")
"""Tables that a token is looked up in to count its bytes: the measure, and not the model."""
_LENGTH = re.compile(r"(?:^|_)(?:n?bytes?|lens?|length)(?:_|$)|^nb$|^L$|^blen$")
_OPAQUE = frozenset({"Module", "Optimizer", "Function"})
"""Bases of classes whose inside is a library's business."""


@dataclass(frozen=True, slots=True)
class Report:
    """A line that is printed."""

    place: Place
    text: str
    """Its constant beginning."""
    value: Value
    order: int
    doubts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """Something was serialised."""

    place: Place
    value: Value
    order: int
    names: frozenset[str]
    """Paths and names by which it may be read again."""


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
        return iter(self._env)

    def __len__(self) -> int:
        """How many."""
        return len(self._env)


class Operations(ABC):
    """Values of expressions, over a heap of objects."""

    def __init__(self, config: Config, classes: Mapping[str, list[str]]) -> None:
        """Start with nothing learnt; `classes` gives the bases of every class."""
        self.config = config
        self.classes = classes
        self.functions: dict[str, list[Function]] = {}
        self.globals = Env({})
        self.heap: dict[int, Object] = {}
        self.loops = Loops()
        self.doubts: list[str] = []
        self.choosing: list[Place] = []
        """Tests around this place that ask which of two losses is smaller."""
        self.own_modules: set[str] = set()
        """Names by which the program knows its own files."""
        self.libraries: set[str] = set()
        """And those of all others: `torch.load` is not its own `load`."""
        self.reports: list[Report] = []
        self.serialised: list[Saved] = []
        self.changed: list[dict[str, Value]] = [{}]
        """What was put into a name in place, of every function that runs."""
        self.left: dict[str, Value] = {}
        """The same of the function that ended last."""
        self.closures: dict[int, Env] = {}
        """Where a function of a function was defined, by the identity of its node."""
        self._lambdas: dict[int, Function] = {}
        self._words: dict[int, tuple[str, list[str]]] = {}
        """Text of a slice, and the names in it."""
        self._slices: dict[tuple[object, ...], Place] = {}
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
    def enter(
        self, function: Function, args: list[Value], keywords: dict[str, Value], own: Value
    ) -> Value:
        """Run a function of the program."""

    @abstractmethod
    def construct(self, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Make an object of a class of the program."""

    @abstractmethod
    def comprehension(self, node: ast.expr, env: Env) -> Value:
        """Run a comprehension."""

    # --- values --------------------------------------------------------------------------------

    def value(self, node: ast.expr | None, env: Env) -> Value:
        """What an expression may be."""
        match node:
            case None:
                return NOTHING
            case ast.Constant():
                return _constant(node)
            case ast.Name():
                return self._name(node.id, env)
            case ast.Attribute():
                return self._attribute(node, env)
            case ast.Subscript():
                return self._subscript(node, env)
            case ast.Call():
                return self._call(node, env)
            case ast.BinOp():
                left, right = self.value(node.left, env), self.value(node.right, env)
                return self._spread(node, self.used(node.lineno, left, right), left)
            case ast.Tuple() | ast.List():
                # Items of items are not kept apart: doubling them forty times is one line of code.
                items = tuple(self.value(item, env).whole() for item in node.elts)
                if isinstance(node, ast.Tuple) and len(items) <= 12:
                    return join(items).whole().but(items=items) if items else NOTHING
                return join(items).whole()
            case ast.IfExp():
                truth = self.config.truth(node.test, Locals(env))
                if truth is not None:
                    return self.value(node.body if truth else node.orelse, env)
                return self.value(node.body, env) | self.value(node.orelse, env)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self.comprehension(node, env)
            case ast.Compare():
                return join(
                    self.value(part, env) for part in (node.left, *node.comparators)
                ).number()
            case ast.NamedExpr():
                value = self.value(node.value, env)
                self.set(env, node.target.id, value)
                return value
            case ast.Lambda():
                return Value(functions=frozenset({self._lambda(node, env)}))
            case ast.JoinedStr():
                return self._text(node, env)
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        return join(self.value(part, env) for part in parts).whole()

    def _spread(self, node: ast.BinOp, value: Value, left: Value) -> Value:
        """Mark the share of a byte in the log of a token's probability, or its root."""
        if not left.through and not left.loss:
            return value
        place = frozenset({self.place(node.lineno)})
        if left.loss and isinstance(node.op, ast.Div) and _names_length(node.right):
            return value.but(spread=value.spread | place)
        power = node.right if isinstance(node.op, ast.Pow) else None
        root = isinstance(power, ast.BinOp) and isinstance(power.op, ast.Div)
        if root and _names_length(power.right):  # type: ignore[union-attr]  # root says what it is
            return value.but(rooted=value.rooted | place)
        return value

    def _text(self, node: ast.JoinedStr, env: Env) -> Value:
        values = [
            self.value(part.value if isinstance(part, ast.FormattedValue) else part, env)
            for part in node.values
        ]
        return join(values).whole()

    def _lambda(self, node: ast.Lambda, env: Env) -> Function:
        """A function without a name, as one that returns its expression."""
        if id(node) not in self._lambdas:
            body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node)]
            made = ast.FunctionDef("<lambda>", node.args, body, [])
            module = self.module
            assert module is not None
            self._lambdas[id(node)] = Function(module, ast.copy_location(made, node), None, set())
        function = self._lambdas[id(node)]
        self.closures[id(function.node)] = env
        return function

    def _name(self, name: str, env: Env) -> Value:
        known: Value | None = env.get(name)
        if known is not None:
            return known
        if name in self.functions:
            plain = [one for one in self.functions[name] if one.owner is None]
            if plain:
                return Value(functions=frozenset(plain[-1:]))
        return _named(name)

    def _attribute(self, node: ast.Attribute, env: Env) -> Value:
        base = self.value(node.value, env).whole()
        if node.attr in SIZES:
            return base.number()
        found = [
            self.heap[ref].attributes[node.attr]
            for ref in base.refs
            if node.attr in self.heap[ref].attributes
        ]
        if found:
            value = join(found)
        elif node.attr in self._class_level:
            value = self._class_level[node.attr]
        else:
            value = _named(node.attr)
            if value is NOTHING:
                value = base.but(functions=frozenset(), classes=frozenset())
        if node.attr in self.moving:
            value = value.but(turns=cut(value.turns | self.now()))
        return value

    _class_level: dict[str, Value]

    def _subscript(self, node: ast.Subscript, env: Env) -> Value:
        base, index = self.value(node.value, env), self.value(node.slice, env)
        if _BYTES.search(getattr(node.value, "attr", getattr(node.value, "id", ""))):
            return (base.whole() | index.whole()).number()
        number = index.constant
        if isinstance(number, int) and -len(base.items) <= number < len(base.items):
            return base.items[number]
        return self.sliced(base.whole(), index.whole(), node, env)

    def sliced(self, base: Value, index: Value, node: ast.Subscript, env: Env) -> Value:
        """A part of tokens, or the entry of a table."""
        place, site = self.place(node.lineno), None
        if base.regions:
            place, site = self._slice_place(node, env)
        if base.regions and (index.turns or not _small(node.slice)):
            # What an ended loop left in a list is some element of it.
            turns = frozenset(turn for turn in index.turns if turn[0] in self.loops.running)
            regions = frozenset(region.sliced(place, turns, site) for region in base.regions)
            base = base.but(regions=regions)
        if base.extent and not base.regions and not _parts(node.slice):
            base = base.but(extent=False)
        if index.regions and not base.regions:
            return self.used(node.lineno, base, index.but(refs=frozenset(), deps=frozenset()))
        return base.but(turns=cut(base.turns | index.turns), functions=base.functions)

    def _slice_place(self, node: ast.Subscript, env: Env) -> tuple[Place, object]:
        """Where a slice was first written, and its site.

        The same words of unchanged names are the same slice.
        """
        if id(node) not in self._words:
            names = sorted({part.id for part in ast.walk(node) if isinstance(part, ast.Name)})
            self._words[id(node)] = ast.unparse(node), names
        text, names = self._words[id(node)]
        versions = (
            next(
                (
                    (id(known), self.versions.get((id(known), name), 0))
                    for known in env.maps
                    if name in known
                ),
                None,
            )
            for name in names
        )
        site = self._serials.get(id(env.maps[0]), 0), text
        return self._slices.setdefault((text, *versions), self.place(node.lineno)), site

    def used(self, line: int, *values: Value) -> Value:
        """Several values in one operation: where tokens meet what has learnt, they are charged."""
        whole = join(value.whole() for value in values)
        if not whole.regions:
            return whole
        learnt = set(self._marks(whole))
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

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: ast.Call, env: Env) -> Value:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        on = self.value(function.value, env) if isinstance(function, ast.Attribute) else NOTHING
        args = list(self._arguments(node, env))
        keywords = {k.arg or "": self.value(k.value, env) for k in node.keywords}
        given = [*args, *keywords.values()]
        if name in PRINTERS and node.args:
            self._print(node, join(given).whole(), env)
        entered = self._entered(node, name, on, args, keywords, env)
        if entered is not None:
            return entered
        everything = [on, *given]
        special = self._library(node, name, on.whole(), args, keywords, env)
        if special is not None:
            return special
        result = self.used(node.lineno, *everything)
        if name in ("exp", "exp2") and result.spread:
            result = result.but(rooted=result.rooted | result.spread)
        if name in RANDOM:
            result = result.but(turns=cut(result.turns | self.now()))
        with_tokens = sum(bool(value.regions) for value in given)
        tokens = result.regions | result.through
        if tokens and (name in LOSSES or (on.refs and with_tokens > 1)):
            result = result.but(loss=True)
        constant = UNKNOWN if tokens else self.config.value(node, Locals(env))
        return result.but(constant=constant)

    def _arguments(self, node: ast.Call, env: Env) -> Iterator[Value]:
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                value = self.value(argument.value, env)
                yield from value.items or (value.whole(),) * MANY
            else:
                yield self.value(argument, env)

    def _entered(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        keywords: dict[str, Value],
        env: Env,
    ) -> Value | None:
        """The value of a call of the program's own code; None when it is none."""
        if isinstance(node.func, ast.Name):
            known = env.get(name)
            if known is not None and known.functions:
                functions = _in_order(known.functions)
                return join(self._run(one, node, args, keywords, NOTHING, env) for one in functions)
            if known is not None and known.refs:
                value = self.used(node.lineno, known, *args, *keywords.values())
                return value.but(loss=sum(bool(a.regions) for a in args) > 1)
            if name in self.classes:
                return self.construct(name, args, keywords)
            plain = [one for one in self.functions.get(name, []) if one.owner is None]
            if not plain or known is not None:
                return None
            return self._run(plain[-1], node, args, keywords, NOTHING, env)
        if not isinstance(node.func, ast.Attribute):
            functions = _in_order(self.value(node.func, env).functions)
            if not functions:
                return None
            return join(self._run(one, node, args, keywords, NOTHING, env) for one in functions)
        methods = [one for one in self.functions.get(name, []) if one.owner is not None]
        own = [one for one in methods if one.owner in on.classes]
        root = _root(node.func.value)
        if root in self.own_modules:
            plain = [one for one in self.functions.get(name, []) if one.owner is None]
            if plain:
                return self._run(plain[-1], node, args, keywords, NOTHING, env)
            if name in self.classes:
                return self.construct(name, args, keywords)
        elif root not in self.libraries and not own and not on.refs and not on.regions:
            own = methods if len(methods) == 1 and not self.opaque(methods[0].owner) else []
        own = [
            one
            for one in own
            if not (self.opaque(one.owner) and name.startswith(("forward", "__")))
        ]
        if not own or (name in ("step", "backward", "state_dict") and self.opaque(own[0].owner)):
            return None
        return join(self._run(one, node, args, keywords, on.whole(), env) for one in own)

    def _run(
        self,
        function: Function,
        node: ast.Call,
        args: list[Value],
        keywords: dict[str, Value],
        own: Value,
        env: Env,
    ) -> Value:
        """Run a function, and take back what it put into its arguments."""
        result = self.enter(function, args, keywords, own)
        left, self.left = self.left, {}
        if left and not any(isinstance(argument, ast.Starred) for argument in node.args):
            given = dict(zip(function.parameters, node.args, strict=False))
            given.update({one.arg: one.value for one in node.keywords if one.arg})
            for name, value in left.items():
                if name in given:
                    self.mutate(given[name], value, env)
        return result

    def _library(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        keywords: dict[str, Value],
        env: Env,
    ) -> Value | None:
        """Calls whose meaning is known; None for all others."""
        given = join([*args, *keywords.values()]).whole()
        if name in SIZES:
            return ((on | given).number()).but(constant=UNKNOWN)
        if name == "backward":
            self._backward(node, on | given)
            return NOTHING
        if name == "grad" and given.loss:
            return Value(
                marks=frozenset(self._learnt("step", node.lineno, given.regions | given.through))
            )
        if name == "step" and (on.refs or given.refs or given.functions):
            for function in _in_order(given.functions):
                self.enter(function, [], {}, NOTHING)
            self._commit(on.refs | given.refs)
            return NOTHING
        if name == "zero_grad":
            for ref in on.refs:
                self.heap[ref].pending = frozenset()
            return NOTHING
        if name == "load_state_dict":
            for ref in on.refs:
                data = self._learnt("data", node.lineno, given.regions | given.through)
                self.heap[ref].marks = cut(self._marks(given) | frozenset(data))
            return NOTHING
        if name == "deepcopy":
            return self._copied(given)
        if name in COPIES and on.refs and not on.regions:
            return Value(marks=self._marks(on), turns=on.turns, deps=on.refs)
        if name == "requires_grad_" and not on.refs and not on.regions:
            return self._fresh(node, env)
        if (
            name == "Parameter"
            or (
                getattr(node.func, "value", None) is not None
                and ast.unparse(node.func.value) in ("nn", "torch.nn")  # type: ignore[attr-defined]  # has a value
                and name[:1].isupper()
            )
        ):
            return self.allocate(marks=self._marks(given))
        if name in ("zeros", "ones", "empty", "randn", "full", "tensor") and not given.regions:
            wants = keywords.get("requires_grad", NOTHING).constant is True
            return self.allocate() if wants else Value(turns=given.turns)
        if name in SERIALISERS:
            return self._serialise(node, on | given, env)
        if name in READERS and not given.regions:
            return self._read_back(node, given, env)
        if name in HISTOGRAMS and given.regions:
            return Value(marks=frozenset(self._learnt("table", node.lineno, given.regions)))
        if name in MINIMA or name == "where":
            return self._smaller(node, name, [on, *args])
        return self._write(node, name, on, args, given, env)

    def _write(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        given: Value,
        env: Env,
    ) -> Value | None:
        """Calls that change what they are called on."""
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name in GATHERS and len(args) > 1:
            self.mutate(node.args[0], args[1], env)
            return NOTHING
        if (
            name == "gather"
            and len(args) > 1
            and getattr(base, "id", "") in ("dist", "distributed")
        ):
            self.mutate(node.args[1], args[0], env)
            return NOTHING
        if name == "at" and node.args:
            self.write(node.args[0], join(args[1:2]).whole(), join(args[2:]).whole(), node, env)
            return NOTHING
        if base is None:
            return None
        if name == "copy_" and on.refs:
            for ref in on.refs:
                data = self._learnt("data", node.lineno, given.regions | given.through)
                self.heap[ref].marks = cut(self._marks(given) | frozenset(data))
            return on
        if (name in RESETS or name.startswith("reset")) and on.refs:
            for ref in on.refs:
                self.heap[ref].marks = frozenset()
                self.heap[ref].pending = frozenset()
            return on
        if name in KEEPERS or name in COUNTERS or name in STEPS:
            if on.refs and any(self.heap[ref].pending for ref in on.refs):
                self._commit(on.refs)
            if name not in COUNTERS:
                self.mutate(base, given, env)
            else:
                self.write(base, given, given, node, env)
            return on
        return None

    def write(self, base: ast.expr, index: Value, value: Value, node: ast.AST, env: Env) -> None:
        """An entry at an index that may be made of tokens was changed."""
        line = getattr(node, "lineno", 0)
        held = self.value(base, env).whole()
        if value.charges or value.through or held.charges or held.through:
            index = index.number()  # sums of results, or results that are put right: no counts
        marks = frozenset(self._learnt("table", line, index.regions)) | value.marks
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

    def opaque_object(self, ref: int) -> bool:
        """Whether an object is a library's."""
        return not self.heap[ref].attributes

    def _print(self, node: ast.Call, value: Value, env: Env) -> None:
        self.clock += 1
        text = self._beginning(node.args[0], env).strip().split("\n")[0]
        place = self.place(node.lineno)
        self.reports.append(Report(place, text, value, self.clock, frozenset(self.doubts)))

    def _beginning(self, node: ast.expr, env: Env) -> str:
        """What a printed text is known to begin with."""
        if not isinstance(node, ast.JoinedStr):
            while isinstance(node, ast.BinOp):
                node = node.left
            text = self.config.value(node, Locals(env))
            return text if isinstance(text, str) else ""
        known = ""
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            text = self.config.value(inner, Locals(env))
            if not isinstance(text, str):
                break
            known += text
        return known

    def _serialise(self, node: ast.Call, value: Value, env: Env) -> Value:
        self.clock += 1
        holds = value.refs or value.deps or value.marks or value.regions or value.through
        if value.charges or not holds:  # losses and counts of them, for a report
            return NOTHING
        marks = self._marks(value) | frozenset(self._learnt("data", node.lineno, value.regions))
        # What is written is paid for, whatever text of training it was made from.
        paid = frozenset(mark for mark in marks if mark.region.split == VALIDATION)
        kept = Value(marks=cut(paid), deps=value.deps | value.refs)
        place, names = self.place(node.lineno), self._file_names(node, env)
        self.serialised.append(Saved(place, kept, self.clock, names))
        return kept

    def _read_back(self, node: ast.Call, given: Value, env: Env) -> Value:
        """What was written under the same name, or else what was written last."""
        if given.marks or given.deps:
            return Value(marks=given.marks, deps=given.deps)
        names = self._file_names(node, env)
        same = [saved for saved in self.serialised if saved.names & names]
        return (same or self.serialised)[-1].value if self.serialised else NOTHING

    def _file_names(self, node: ast.Call, env: Env) -> frozenset[str]:
        """Paths and names among the arguments of a call."""
        constants = (self.config.value(argument, Locals(env)) for argument in node.args)
        words = (
            ast.unparse(argument)
            for argument in node.args
            if isinstance(argument, ast.Name | ast.Attribute)
        )
        return frozenset([*(one for one in constants if isinstance(one, str)), *words])

    def _smaller(self, node: ast.Call, name: str, args: list[Value]) -> Value | None:
        # The smaller of two sums, such as the best of several evaluations, is no choice a token.
        if name == "min" and getattr(getattr(node.func, "value", None), "id", "") != "torch":
            return None
        losses = [value for value in args if value.loss]
        if len(losses) < (3 if name == "where" else 2):
            return None
        value = self.used(node.lineno, *args)
        return value.but(chosen=value.chosen | {self.place(node.lineno)})

    def _backward(self, node: ast.Call, value: Value) -> None:
        learnt = frozenset(self._learnt("step", node.lineno, value.regions | value.through))
        for ref in value.deps | value.refs:
            self.heap[ref].pending = cut(self.heap[ref].pending | learnt)

    def _commit(self, refs: frozenset[int]) -> None:
        for ref in refs:
            thing = self.heap[ref]
            thing.marks = cut(thing.marks | thing.pending)
            thing.pending = frozenset()

    def _learnt(self, kind: str, line: int, regions: frozenset[Region]) -> Iterator[Learnt]:
        for region in regions:
            yield Learnt(
                kind,
                self.place(line),
                region,
                frozenset(self.loops.running),
                frozenset(self.doubts),
            )

    def _marks(self, value: Value) -> frozenset[Learnt]:
        """What a value and the objects that it is have learnt."""
        marks = value.marks
        for ref in value.refs:
            marks = marks | self.heap[ref].marks
        return marks

    def _copied(self, value: Value) -> Value:
        copy = self.allocate(self._marks(value))
        for ref in value.refs:
            for made in copy.refs:
                self.heap[made].attributes.update(self.heap[ref].attributes)
        return value.but(refs=copy.refs, deps=frozenset())

    def _fresh(self, node: ast.Call, env: Env) -> Value:
        made = self.allocate()
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(base, ast.Name):
            self.set(env, base.id, made)
        return made

    def allocate(self, marks: frozenset[Learnt] = frozenset(), kind: str | None = None) -> Value:
        """A new object."""
        self._objects += 1
        self.heap[self._objects] = Object(marks)
        return Value(
            refs=frozenset({self._objects}),
            classes=frozenset({kind} if kind else ()),
            turns=self.now(),
        )

    def opaque(self, name: str | None) -> bool:
        """Whether a class is a kind of a library's module or optimiser."""
        seen: set[str] = set()
        queue = [name or ""]
        while queue:
            one = queue.pop()
            if one in _OPAQUE:
                return True
            if one not in seen:
                seen.add(one)
                queue += self.classes.get(one, [])
        return False

    def now(self) -> frozenset[Turn]:
        """Turns of all loops that run."""
        return frozenset(self.loops.running.items())

    def place(self, line: int) -> Place:
        """A line of the module that runs."""
        return (self.module.path if self.module else "", line)


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", "")


def _names_length(node: ast.expr) -> bool:
    """Whether an expression speaks of the bytes of a token."""
    names = (getattr(one, "id", getattr(one, "attr", "")) for one in ast.walk(node))
    return any(_LENGTH.search(name) for name in names if name)


def _small(node: ast.expr) -> bool:
    """Whether a slice that no loop moves leaves the tokens almost as they were."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    for part in parts:
        if isinstance(part, ast.Slice):
            bounds = [bound for bound in (part.lower, part.upper) if bound is not None]
            if any(abs(_number(bound) or 0) > 1 or _number(bound) is None for bound in bounds):
                return False
        elif _number(part) is None and not isinstance(getattr(part, "value", part), type(Ellipsis)):
            return False
    return True


def _parts(node: ast.expr) -> bool:
    """Whether a slice of a list takes all of it, or the part of a rank; a beginning is not all."""
    if not isinstance(node, ast.Slice):
        return False
    return node.lower is not None or node.step is not None or _small(node)


def _number(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, int)):
        return int(node.value or 0)
    return None


def _constant(node: ast.Constant) -> Value:
    regions: frozenset[Region] = frozenset()
    if isinstance(node.value, str) and len(node.value) < 200:
        found = _SHARDS.search(node.value) if ".bin" in node.value or "*" in node.value else None
        if found:
            regions = frozenset({Region(VALIDATION if found[1] == "val" else TRAINING)})
    return Value(regions=regions, constant=node.value)


def _in_order(functions: frozenset[Function]) -> list[Function]:
    """As they stand in the source, so that two analyses go the same way."""
    return sorted(functions, key=lambda function: (function.module.path, function.node.lineno))


def tokens_named(name: str) -> Value:
    """Tokens that a name speaks of."""
    return _named(name) if "tok" in name else NOTHING


def _named(name: str) -> Value:
    split = _SPLIT_NAMES.get(name)
    return Value(regions=frozenset({Region(split)})) if split else NOTHING
