"""Runs a program on abstract values: statements in order, loops twice, one branch where known.

A loop's first turn and its last are taken, with the numbers they count where these are known. Where
a test cannot be decided both branches are taken, each from the same state; where what cannot be
decided is a setting, whatever happens in a branch hangs on it, and says so.
"""

import ast
from collections.abc import Callable
from typing import Any

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.mixtures import find_mixtures
from auditor.inspect.order.decisions import Decisions
from auditor.inspect.order.memory import Env, Locals
from auditor.inspect.order.names import assigned_names, attributes_set, defaults, imported, targets
from auditor.inspect.order.values import NOTHING, SETTING, Object, Value, advanced, cut, join
from auditor.inspect.order.vocabulary import tokens_named
from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.taint import TooLong
from auditor.inspect.units import Guard
from auditor.inspect.values import Function

MAX_DEPTH = 24
MAX_STATEMENTS = 60_000
"""Of one run; the largest programs of this benchmark take a seventh."""


class Machine(Decisions):
    """One run of a set of modules."""

    def __init__(
        self, modules: tuple[Module, ...], config: Config, shown: Callable[[Guard], str | None]
    ) -> None:
        """Index classes and functions; `shown` says which log line proves that a branch ran."""
        classes = {
            node.name: [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases]
            for module in modules
            for node in module.of(ast.ClassDef)
        }
        super().__init__(config, classes, shown)
        self._modules = modules
        self.own_modules, self.libraries = imported(modules)
        self.mixtures = find_mixtures(modules)
        self._stack: list[Function] = []
        self._loops = 0
        self._assigned: dict[int, set[str]] = {}
        self._statements = 0
        self._returned: list[list[Value]] = [[]]
        for module in modules:
            for node, owner in module.functions:
                self.functions.setdefault(node.name, []).append(
                    Function(module, node, owner, set())
                )
                if owner is not None and node.name != "__init__":
                    self.moving |= attributes_set(node)

    def run(self) -> None:
        """Run every module, helpers before the script that imports them."""
        for module in (*self._modules[1:], self._modules[0]):
            self.module = module
            self._block(module.tree.body, self.globals)

    # --- statements ----------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt], env: Env) -> bool:
        """Run statements in order; whether the block is left for sure."""
        for statement in body:  # noqa: SIM110 - a frame less for each statement of a program
            if self._statement(statement, env):
                return True
        return False

    def _statement(self, node: ast.stmt, env: Env) -> bool:
        self._statements += 1
        if self._statements > MAX_STATEMENTS:
            raise TooLong
        run = _STATEMENTS.get(type(node))
        return run is not None and bool(run(self, node, env))

    def _return(self, node: ast.Return, env: Env) -> bool:
        self._returned[-1].append(self._known(node.value, env))
        return True

    def _set(self, node: ast.Assign, env: Env) -> None:
        value = self._known(node.value, env)
        counts = isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add)
        for target in node.targets:
            self._assign(target, value, env, counts=counts)

    def _set_typed(self, node: ast.AnnAssign, env: Env) -> None:
        if node.value is not None:
            self._assign(node.target, self._known(node.value, env), env)

    def _while(self, node: ast.While, env: Env) -> None:
        if self.config.truth(node.test, Locals(env)) is not False:
            known = self.value(node.test, env).extent
            (self.loops.sweeping if known else self.loops.open_ended).add(self._loops + 1)
            self._turns(node.body, env, lambda turn: None, count=None)

    def _with(self, node: ast.With | ast.AsyncWith, env: Env) -> bool:
        for item in node.items:
            value = self.value(item.context_expr, env)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, value, env)
        return self._block(node.body, env)

    def _try(self, node: ast.Try, env: Env) -> bool:
        left = self._block(node.body, env)
        return self._block(node.orelse, env) or self._block(node.finalbody, env) or left

    def _define(self, node: FunctionNode, env: Env) -> None:
        self.closures[id(node)] = env
        env.maps[0].pop(node.name, None)

    def _expression(self, node: ast.Expr, env: Env) -> None:
        if isinstance(node.value, ast.Yield | ast.YieldFrom):
            self._returned[-1].append(self.value(node.value.value, env))
        else:
            self.value(node.value, env)

    def _known(self, node: ast.expr | None, env: Env) -> Value:
        """A value, with its constant where it has one."""
        value = self.value(node, env)
        if id(node) in self.mixtures.weights:
            value = value.noted("own-loss", {self.place(getattr(node, "lineno", 0))})
        if value.constant is not UNKNOWN or value.regions or value.through or value.refs:
            return value
        constant = self.config.value(node, Locals(env))
        if constant is not UNKNOWN:
            return value.but(constant=constant, notes=value.notes - {SETTING})
        looks_up = node is not None and value.is_nothing and not self.measures(node)
        if looks_up and self._setting(node, env):  # type: ignore[arg-type]  # it is not None
            return Value(notes=frozenset({SETTING}))
        return value

    def _class(self, node: ast.ClassDef, env: Env) -> None:
        for statement in node.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                value = self.value(statement.value, env)
                for target in targets(statement):
                    if isinstance(target, ast.Name):
                        old = self.class_level.get(target.id)
                        self.class_level[target.id] = value if old is None else old | value

    def _assign(self, target: ast.expr, value: Value, env: Env, *, counts: bool = False) -> None:
        """Bind; `counts` says that an entry becomes more, and is not just set."""
        if self.choosing and value.loss and isinstance(target, ast.Subscript):
            value = value.noted("chosen", {self.choosing[-1]})
        match target:
            case ast.Name():
                # What a loader returns may have lost where it came from; its name has not.
                if (said := tokens_named(target.id)) is not NOTHING:
                    plain = value.whole().but(notes=frozenset())
                    known = plain.number() != plain or value.constant is not UNKNOWN
                    value = value if known else value | said
                self.set(env, target.id, value)
            case ast.Starred():
                self._assign(target.value, value, env)
            case ast.Tuple() | ast.List():
                known = len(value.items) == len(target.elts)
                rest = value.whole()
                for number, inner in enumerate(target.elts):
                    self._assign(inner, value.items[number] if known else rest, env)
            case ast.Attribute():
                refs = self.value(target.value, env).whole().refs
                for ref in refs:
                    attributes = self.heap[ref].attributes
                    old = attributes.get(target.attr, NOTHING) if len(refs) > 1 else NOTHING
                    attributes[target.attr] = value if old is NOTHING else old | value
            case ast.Subscript():
                index = self.value(target.slice, env).whole()
                if value.constant == 0 and index.places("agreed"):
                    value = self.covered(value.but(notes=index.notes), target.lineno)
                if not counts:  # a buffer, whatever its index is made of
                    index = index.number()
                self.write(target.value, index, value.whole(), target, env)

    def _augment(self, node: ast.AugAssign, env: Env) -> None:
        right = self.value(node.value, env)
        if isinstance(node.target, ast.Name):
            left = env.get(node.target.id, NOTHING)
            value = self.used(node.lineno, left, right)
            changed = value.but(refs=value.refs | left.refs, constant=UNKNOWN)
            self.set(env, node.target.id, changed)
            self.put(node.target.id, value)
            if left.refs:  # `delta -= rate * gradient` is a step
                for ref in left.refs:
                    self.heap[ref].marks = cut(self.heap[ref].marks | right.marks)
        else:
            if isinstance(node.op, ast.Mult):
                right = self.covered(right, node.lineno)
            self._assign_more(node.target, right, env)

    def _assign_more(self, target: ast.expr, value: Value, env: Env) -> None:
        """`a.b += c` and `a[b] += c`: the old value stays in it."""
        if isinstance(target, ast.Subscript):
            self._assign(target, value, env, counts=True)
        else:
            self.mutate(target, value, env)

    # --- branches and loops --------------------------------------------------------------------

    def _if(self, node: ast.If, env: Env) -> bool:
        if not self.asks_for_the_smaller(node.test, env):
            return self._branches(node, env)
        self.choosing.append(self.place(node.lineno))
        left = self._branches(node, env)
        self.choosing.pop()
        return left

    def _branches(self, node: ast.If, env: Env) -> bool:
        body, other, doubt = self.decide(node, env)
        if not (body and other):
            return self._block(node.body if body else node.orelse, env)
        if doubt is not None:
            self.doubts.append(doubt)
        before, heap = dict(env.maps[0]), _copied(self.heap)
        left_body = self._block(node.body, env)
        after, changed = dict(env.maps[0]), self.heap
        env.maps[0].clear()
        env.maps[0].update(before)
        self.heap = heap
        left_other = self._block(node.orelse, env)
        if doubt is not None:
            self.doubts.pop()
        if left_other and not left_body:
            env.maps[0].clear()
            env.maps[0].update(after)
            self.heap = _merged(self.heap, changed, replace_all=True)
        elif not left_body:
            _merge(env, after)
            self.heap = _merged(self.heap, changed)
        else:
            self.heap = _merged(self.heap, changed, only_new=True)
        return left_body and left_other

    def _for(self, node: ast.For | ast.AsyncFor, env: Env) -> None:
        count = self._count(node.iter, env)
        if count == 0:
            return

        def bind(turn: int) -> None:
            self._bind(node.target, node.iter, env, turn, count)

        self._turns(node.body, env, bind, count)
        self._block(node.orelse, env)

    def _turns(
        self, body: list[ast.stmt], env: Env, bind: Callable[[int], None], count: int | None
    ) -> None:
        """The first turn of a loop, and its last."""
        self._loops += 1
        loop = self._loops
        self.loops.running[loop] = 0
        key = id(body)
        if key not in self._assigned:
            self._assigned[key] = assigned_names(body)
        assigned = self._assigned[key]
        for name in [name for name in assigned if name in env]:
            old = env[name]
            changed = old.but(constant=UNKNOWN, turns=advanced(old.turns, loop, 0))
            self.set(env, name, changed)
        for turn in range(1 if count == 1 else 2):
            self.loops.running[loop] = turn
            for name in [name for name in assigned if name in env]:
                old = env[name]
                self.set(env, name, old.but(turns=advanced(old.turns, loop, turn)))
            bind(turn)
            self._block(body, env)
        del self.loops.running[loop]

    def _count(self, node: ast.expr, env: Env) -> int | None:
        """How many turns a loop takes, where that is known."""
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range":
            numbers = self._range(node, env)
            return None if numbers is None else len(numbers)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("tqdm", "enumerate"):
            return self._count(node.args[0], env) if node.args else None
        constant = self.config.value(node, Locals(env))
        return len(constant) if isinstance(constant, tuple | str) else None

    def _range(self, node: ast.Call, env: Env) -> range | None:
        numbers = [self.config.value(argument, Locals(env)) for argument in node.args]
        if not all(isinstance(number, int) for number in numbers) or not 1 <= len(numbers) <= 3:
            return None
        return range(*numbers) if len(numbers) < 3 or numbers[2] else None

    def _bind(
        self, target: ast.expr, iterable: ast.expr, env: Env, turn: int, count: int | None
    ) -> None:
        """Loop variables; those of `zip` and `enumerate` element by element."""
        loop = next(reversed(self.loops.running))
        name = getattr(iterable.func, "id", "") if isinstance(iterable, ast.Call) else ""
        if name and isinstance(iterable, ast.Call):
            if name == "range":
                numbers = self._range(iterable, env)
                known: Any = UNKNOWN
                if numbers:
                    known = numbers[-1 if turn else 0]
                elif not turn and len(iterable.args) == 1:
                    known = 0
                value = join(self.value(argument, env) for argument in iterable.args).number()
                if value.extent:
                    self.loops.sweeping.add(loop)
                turns = cut(value.turns | {(loop, turn)})
                return self._assign(target, Value(turns=turns, constant=known), env)
            if isinstance(target, ast.Tuple) and len(target.elts) == 2 and name == "enumerate":
                first = Value(turns=frozenset({(loop, turn)}), constant=UNKNOWN if turn else 0)
                self._assign(target.elts[0], first, env)
                return self._bind(target.elts[1], iterable.args[0], env, turn, count)
            elements = target.elts if isinstance(target, ast.Tuple) else []
            if name == "zip" and len(elements) == len(iterable.args):
                for inner, argument in zip(elements, iterable.args, strict=True):
                    self._bind(inner, argument, env, turn, count)
                return None
        self._assign(target, self._element(self.value(iterable, env), iterable, loop, turn), env)
        return None

    def _element(self, value: Value, node: ast.expr, loop: int, turn: int) -> Value:
        """What one turn takes out of what it goes over."""
        whole = value.whole()
        if whole.extent or whole.regions:
            self.loops.sweeping.add(loop)
        turns = frozenset({(loop, turn)})
        place = self.place(node.lineno)
        regions = frozenset(region.now(self.loops).sliced(place, turns) for region in whole.regions)
        return whole.but(regions=regions, turns=cut(whole.turns | turns))

    def comprehension(self, node: ast.expr, env: Env) -> Value:
        """One turn of each of its loops."""
        inner = self.new_environment(env)
        begun = []
        for generator in node.generators:  # type: ignore[attr-defined]  # a comprehension
            self._loops += 1
            self.loops.running[self._loops] = 0
            begun.append(self._loops)
            self._bind(generator.target, generator.iter, inner, 0, None)
        if isinstance(node, ast.DictComp):
            value = self.value(node.value, inner)
        else:
            value = self.value(node.elt, inner)  # type: ignore[attr-defined]  # a comprehension
        for loop in begun:
            del self.loops.running[loop]
        regions = frozenset(region.now(self.loops) for region in value.whole().regions)
        return value.whole().but(regions=regions)

    # --- calls ---------------------------------------------------------------------------------

    def enter(
        self, function: Function, args: list[Value], keywords: dict[str, Value], own: Value
    ) -> Value:
        """Run a function; what it may return."""
        if len(self._stack) > MAX_DEPTH or function in self._stack:
            return NOTHING
        around = self.closures.get(id(function.node), self.globals)
        env = self.new_environment(around)
        names = function.parameters
        for name, default in defaults(function.node):
            env[name] = self._known(default, around)
        for name, value in zip(names, args, strict=False):
            env[name] = value
        if function.node.args.vararg is not None:
            rest = tuple(args[len(names) - len(function.node.args.kwonlyargs) :])
            env[function.node.args.vararg.arg] = join(rest).whole().but(items=rest)
        for name, value in keywords.items():
            if name in names:
                env[name] = value
        for name in names:
            if name not in env.maps[0]:
                env[name] = NOTHING
        first = function.node.args.args[:1]
        if function.owner is not None and first and first[0].arg in ("self", "cls"):
            env[first[0].arg] = own
        module, self.module = self.module, function.module
        self._stack.append(function)
        self._returned.append([])
        self.changed.append({})
        self._block(function.node.body, env)
        returned = self._returned.pop()
        self.left = self.changed.pop()
        self._stack.pop()
        self.module = module
        return join(returned)

    def construct(self, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Make an object; the inside of a model or an optimiser is not looked at."""
        given = join([*args, *keywords.values()]).whole()
        if self.opaque(name):
            if given.refs and any("Optimizer" in base for base in self._bases(name)):
                return given.but(classes=frozenset({name}))
            return self.allocate(kind=name)
        made = self.allocate(kind=name)
        for function in self.functions.get("__init__", []):
            if function.owner == name:
                self.enter(function, args, keywords, made)
                return made
        # A dataclass or a tuple keeps what it was given.
        return given.but(refs=given.refs | made.refs, classes=made.classes)

    def _bases(self, name: str) -> set[str]:
        found: set[str] = set()
        queue = [name]
        while queue:
            for base in self.classes.get(queue.pop(), []):
                if base not in found:
                    found.add(base)
                    queue.append(base)
        return found


def _leave(machine: Machine, node: ast.stmt, env: Env) -> bool:
    """What follows in the block is not run."""
    return True


_STATEMENTS: dict[type[ast.AST], Callable[[Machine, Any, Env], bool | None]] = {
    ast.Return: Machine._return,
    ast.Assign: Machine._set,
    ast.AnnAssign: Machine._set_typed,
    ast.AugAssign: Machine._augment,
    ast.If: Machine._if,
    ast.For: Machine._for,
    ast.AsyncFor: Machine._for,
    ast.While: Machine._while,
    ast.With: Machine._with,
    ast.AsyncWith: Machine._with,
    ast.Try: Machine._try,
    ast.FunctionDef: Machine._define,
    ast.AsyncFunctionDef: Machine._define,
    ast.ClassDef: Machine._class,
    ast.Expr: Machine._expression,
    ast.Continue: _leave,
    ast.Break: _leave,
    ast.Raise: _leave,
}
"""How each kind of statement is run; the others do nothing here."""


def _copied(heap: dict[int, Object]) -> dict[int, Object]:
    return {number: thing.copy() for number, thing in heap.items()}


def _merge(env: Env, other: dict[str, Value]) -> None:
    """Join another branch into an environment."""
    own = env.maps[0]
    for name, value in other.items():
        old = own.get(name)
        if old is not value:
            own[name] = value if old is None else old | value


def _merged(
    heap: dict[int, Object],
    other: dict[int, Object],
    *,
    replace_all: bool = False,
    only_new: bool = False,
) -> dict[int, Object]:
    """Objects after two branches: of both, of the other alone, or of the first with new ones."""
    result = dict(heap)
    for number, thing in other.items():
        if number not in result or replace_all:
            result[number] = thing
        elif not only_new:
            result[number] = result[number].joined(thing)
    return result
