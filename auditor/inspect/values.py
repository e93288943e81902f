"""What an expression may hold, for the taint analysis: tokens, keys made of them, table reads."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.tree import walk

Place = tuple[str, int]
"""File and line."""

# Names by which scripts of this benchmark call the token being predicted, and what comes before.
_TARGET = re.compile(
    r"y|ys|yb|y_(?:batch|np|tok\w*|true|flat|cpu|i|t|b|ids?|all|seg|slice|chunk|gpu)|tgts?|tgt_\w+"
    r"|targets?|target_(?:ids?|tok\w*|np|batch|flat|t)|targets_\w+|next_(?:tok\w*|ids?)"
    r"|true_tok\w*|gold\w*|actual_tok\w*"
)
_NOT_TARGET = re.compile(
    r"_(?:bytes?|len\w*|mask|lut|probs?|nll|logits?|logp|lp|loss|bpb|steps?|lr|dim|count|tokens_per"
    r"|shape|dtype|device|size)$"
)
_CONTEXT = re.compile(
    r"x|xs|xb|x_\w+|\w*ctx\w*|\w*context\w*|hist\w*|history|prev\w*|prefix\w*|h|hsh|\w*hash\w*"
    r"|inputs?(?:_\w+)?|input_ids|window|past\w*"
)
_TOKENS = re.compile(r"t|tok|toks|tokens?|token_ids|\w+_tokens|tokens_\w+|ids|seq|stream|val|data")


class Value(NamedTuple):
    """Which tokens a value depends on, and how."""

    target: bool = False
    """The token being predicted."""
    guessed: bool = False
    """It is the target by its place in the stream; no name says so."""
    context: bool = False
    """Tokens, the target not known to be among them."""
    vocab: bool = False
    """Every token of the vocabulary, or a candidate from it."""
    keys: frozenset[Place] = frozenset()
    """Where target and context were mixed into this index."""
    reads: frozenset[Place] = frozenset()
    """Reads by such an index that this value came from."""
    parts: tuple["Value", ...] = ()
    """Elements of a tuple, where they are known."""

    def __or__(self, other: "Value") -> "Value":
        """Either of two values."""
        if other is NOTHING or self is other:
            return self
        if self is NOTHING or self == NOTHING:
            return other
        if self == other or other == NOTHING:
            return self
        same = len(self.parts) == len(other.parts)
        return Value(
            target=self.target or other.target,
            guessed=all(value.guessed for value in (self, other) if value.target),
            context=self.context or other.context,
            vocab=self.vocab or other.vocab,
            keys=self.keys | other.keys,
            reads=self.reads | other.reads,
            parts=tuple(a | b for a, b in zip(self.parts, other.parts, strict=True))
            if same
            else (),
        )

    def apart(self, vocab: bool | None = None) -> "Value":
        """Without its parts; mostly it has none, and stays what it is."""
        vocab = self.vocab if vocab is None else vocab
        if not self.parts and vocab == self.vocab:
            return self
        return self._replace(parts=(), vocab=vocab)

    def only_reads(self) -> "Value":
        """What is left of a comparison or a table's entry: it is no token any more."""
        return Value(reads=self.reads) if self.reads else NOTHING


Env = dict[str, Value]
NOTHING = Value()
TARGET = Value(target=True)
PLACED = Value(target=True, guessed=True)
CONTEXT = Value(context=True)


def join(values: Iterable[Value]) -> Value:
    """Any of several values."""
    result = NOTHING
    for value in values:
        if value is not NOTHING:
            result = value if result is NOTHING else result | value
    return result


@lru_cache(maxsize=50_000)
def named(name: str) -> Value:
    """What the name of a variable says of it."""
    if _TARGET.fullmatch(name) and not _NOT_TARGET.search(name):
        return TARGET
    if _CONTEXT.fullmatch(name) or _TOKENS.fullmatch(name):
        return CONTEXT
    return NOTHING


def is_context_name(name: str) -> bool:
    """Whether a name speaks of what comes before the target."""
    return bool(_CONTEXT.fullmatch(name))


def token_lines(module: Module) -> list[int]:
    """Lines on which tokens are indexed; most functions have none."""
    return [
        node.lineno
        for node in module.of(ast.Subscript)
        if isinstance(node.value, ast.Name) and _TOKENS.fullmatch(node.value.id)
    ]


def scored_elements(function: ast.AST) -> set[str]:
    """Indexed tokens that follow the context of the same function, as source text.

    `tokens[i]` beside `tokens[i - 3]` or `tokens[i - 3 : i]`, and `tokens[a:b]` beside a slice that
    begins before `a`, come next, unless something after them is used too.
    """
    assigned = {
        node.targets[0].id: node.value
        for node in walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    starts: dict[str, tuple[str, str]] = {}
    behind: set[tuple[str, str]] = set()
    ahead: set[tuple[str, str]] = set()
    for node in walk(function):
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
            continue
        base, index = node.value.id, node.slice
        if not _TOKENS.fullmatch(base):
            continue
        low = index.lower if isinstance(index, ast.Slice) else index
        if low is None:
            continue
        if isinstance(index, ast.Slice) and index.upper is not None:
            _relate(base, index.upper, {}, set(), ahead)
            behind.add((base, ast.unparse(index.upper)))
        _relate(base, low, assigned, behind, ahead)
        starts[ast.unparse(node)] = (base, ast.unparse(low))
    return {text for text, start in starts.items() if start in behind and start not in ahead}


def _relate(
    base: str,
    index: ast.expr,
    assigned: dict[str, ast.expr],
    behind: set[tuple[str, str]],
    ahead: set[tuple[str, str]],
) -> None:
    """Note what an index is a number of positions before or after of."""
    if isinstance(index, ast.Name) and isinstance(assigned.get(index.id), ast.BinOp):
        index = assigned[index.id]
    subtracts = False
    node = index
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        subtracts |= isinstance(node.op, ast.Sub)
        node = node.left
        (behind if subtracts else ahead).add((base, ast.unparse(node)))


@dataclass(slots=True, eq=False)
class Function:
    """One function of the program."""

    module: Module
    node: FunctionNode
    owner: str | None
    """Class that it is a method of."""
    scored: set[str]

    @property
    def parameters(self) -> list[str]:
        """Names of its parameters, without self."""
        arguments = self.node.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        if self.owner is not None and names[:1] in (["self"], ["cls"]):
            names = names[1:]
        return names + [a.arg for a in arguments.kwonlyargs]


@dataclass(slots=True)
class Seen:
    """What the analysis found."""

    reads: dict[Place, tuple[Function | None, Place]] = field(default_factory=dict)
    """Read by a mixed key -> where it stands, and where the key was made."""
    fed: set[Place] = field(default_factory=set)
    """Reads that came into a score."""
    exact: set[str] = field(default_factory=set)
    """Functions that compare a stored key with the one they look for."""
    summed: set[str] = field(default_factory=set)
    """Functions that read by keys of the whole vocabulary."""
    guessed: set[Place] = field(default_factory=set)
    """Keys whose target is known by its place alone."""
    tables: set[Place] = field(default_factory=set)
    """All reads by an index made of tokens."""
