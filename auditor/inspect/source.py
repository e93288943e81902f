"""The Python that the entry point brings in, parsed and never executed.

Read are the training script, every shipped file that it imports or names in a string, and what a
packed script would unpack, layer by layer. Where the folder has no script, the source that a log
prints before its first line is read: it is what ran. A compiled helper, as a file or as a text of
the script, a script that unpacks itself in an unknown way, and a file that cannot be parsed are
listed as unread, each with the reason: nobody looked into them, so nothing that depends on them
can pass.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from auditor.grammar import NotThisGrammar, lowered
from auditor.inspect.tree import children
from auditor.inspect.unpack import layers
from auditor.submission import Submission

MAX_SOURCE_BYTES = 2_000_000
"""The largest honest script has some 250,000 bytes; parsing takes about 100 bytes a byte."""
MAX_KEPT_BYTES = 400_000
MAX_LINE_BYTES = 200_000
MAX_LAYERS = 3
MAX_DEPTH = 150
"""Nesting beyond this is not written by people, and would exhaust the stack of a recursive walk."""
COMPILED = (".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".pyx", ".so")
_SIMPLE = ast.Assign | ast.Expr | ast.AugAssign | ast.AnnAssign | ast.Return
"""Statements without others in them, most of a program."""
_FOREIGN = re.compile(
    r"^[ \t]{0,40}#include[ \t]{0,9}[<\"]|\b__global__\s{1,9}void\b", re.MULTILINE
)
_RULE = re.compile(rb"^={40,}$", re.MULTILINE)
_DECODERS = {"b85decode", "a85decode", "b64decode", "decompress", "fromhex", "unhexlify"}


N = TypeVar("N", bound=ast.AST)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One parsed file."""

    path: str
    tree: ast.Module
    lines: tuple[str, ...]
    nodes: tuple[ast.AST, ...]
    """Every node of the tree but operators and contexts, outer ones first."""

    @property
    def functions(self) -> list[tuple[FunctionNode, str | None]]:
        """Every function, outer ones first, with the class whose method it is."""
        found: list[tuple[FunctionNode, str | None]] | None = self.tree.__dict__.get("_functions")
        if found is None:
            found = self.tree.__dict__["_functions"] = list(functions(self.tree.body))
        return found

    def of(self, *kinds: type[N]) -> list[N]:
        """Nodes of these kinds, outer ones first."""
        groups: dict[type[ast.AST], list[ast.AST]] | None = self.tree.__dict__.get("_groups")
        if groups is None:
            groups = self.tree.__dict__["_groups"] = {}
            for node in self.nodes[1:]:  # with itself in it, a tree would outlive its last user
                groups.setdefault(type(node), []).append(node)
        if len(kinds) == 1:
            return groups.get(kinds[0], [])  # type: ignore[return-value]  # they are of this kind
        return [node for node in self.nodes if type(node) in kinds]  # type: ignore[misc]  # as above

    def text(self, line: int) -> str:
        """A line of the file, shortened for a report."""
        return self.lines[line - 1].strip()[:200] if 0 < line <= len(self.lines) else ""


@dataclass(frozen=True, slots=True)
class Sources:
    """What could be read, entry first, and what could not."""

    modules: tuple[Module, ...]
    unread: tuple[str, ...]


def read_sources(submission: Submission) -> Sources:
    """Parse the entry point and follow it into the other files of the folder."""
    entry = submission.entry
    if entry is None:
        printed = next(_printed(submission), None)
        if printed is None:
            return Sources((), ("no training script was found in the folder",))
        return Sources((printed,), ())
    modules: list[Module] = []
    unread: list[str] = []
    queue, seen = [entry], {entry}
    while queue:
        path = queue.pop(0)
        if path.endswith(COMPILED):
            unread.append(f"{path}: compiled code is not read")
            continue
        module = parse(path, submission.files[path].data)
        if isinstance(module, str):
            unread.append(f"{path}: {module}")
            continue
        whole, hidden = _with_layers(module)
        modules += whole
        unread += hidden
        unread += [reason for one in whole for reason in _compiled_texts(one)]
        names = [name for one in whole for name in _named_files(one, submission)]
        for other in names:
            if other not in seen:
                seen.add(other)
                if other in submission.unread:
                    unread.append(f"{other}: {submission.unread[other]}")
                else:
                    queue.append(other)
    return Sources(tuple(modules), tuple(unread))


def _printed(submission: Submission) -> Iterator[Module]:
    """Sources that logs begin with, up to a rule of equal signs; a log's lines are its lines."""
    for path, file in submission.files.items():
        end = _RULE.search(file.data[:MAX_SOURCE_BYTES])
        if path.endswith((".log", ".txt")) and end is not None:
            module = parse(path, file.data[: end.start()])
            if isinstance(module, Module) and module.functions:
                yield module


def _with_layers(module: Module) -> tuple[list[Module], list[str]]:
    """The module and what it unpacks, and why a layer could not be read."""
    modules, unread = [module], []
    packings, depth = [module] if packed(module) else [], 0
    while packings and depth < MAX_LAYERS:
        depth += 1
        inner: list[Module] = []
        for packing in packings:
            parsed = list(_layer(packing, f"{module.path} (layer {depth}"))
            found = [one for one in parsed if isinstance(one, Module)]
            if not found:
                why = next((one for one in parsed if isinstance(one, str)), "nothing came out")
                unread.append(f"{packing.path}: it is packed, and of what it unpacks {why}")
            inner += found
        modules += inner
        packings = [one for one in inner if packed(one)]
    unread += [f"{one.path}: it is packed more than {MAX_LAYERS} times" for one in packings]
    return modules, unread


def _layer(packing: Module, name: str) -> Iterator[Module | str]:
    """What a module unpacks, parsed; `name` lacks its closing bracket."""
    texts = layers(packing.tree)
    for number, text in enumerate(texts, 1):
        part = f", part {number}" if len(texts) > 1 else ""
        yield parse(f"{name}{part})", text.encode())


def parse(path: str, data: bytes) -> Module | str:
    """The parsed file, or why it cannot be read; the last few are kept for folders alike."""
    return (_kept if len(data) <= MAX_KEPT_BYTES else _parsed)(path, data)


def _parsed(path: str, data: bytes) -> Module | str:
    if len(data) > MAX_SOURCE_BYTES:
        return f"expected at most {MAX_SOURCE_BYTES:,} bytes of source, found {len(data):,}"
    longest = max(map(len, data.split(b"\n")), default=0)
    if longest > MAX_LINE_BYTES:
        return f"expected lines of at most {MAX_LINE_BYTES:,} bytes, found one of {longest:,}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _tree(data, path)
        nodes = _nodes(tree)
        if nodes is None:
            return f"its syntax tree is more than {MAX_DEPTH} levels deep"
    except (SyntaxError, ValueError) as error:
        return f"it cannot be parsed as Python ({error})"
    except (RecursionError, MemoryError):
        return "it is too deeply nested to be parsed"
    return Module(path, tree, tuple(data.decode("utf-8", errors="replace").splitlines()), nodes)


_kept = lru_cache(maxsize=4)(_parsed)


def _tree(data: bytes, path: str) -> ast.Module:
    """Parse with this Python's grammar or, where it is older than the script's, with help."""
    try:
        return ast.parse(data, filename=path)
    except SyntaxError:
        try:
            return ast.parse(lowered(data.decode()), filename=path)
        except (SyntaxError, ValueError, NotThisGrammar):
            pass
        raise


def _nodes(tree: ast.AST) -> tuple[ast.AST, ...] | None:
    """Every node; None where one lies deeper than a recursive walk can safely go."""
    level: list[ast.AST] = [tree]
    nodes: list[ast.AST] = []
    for _ in range(MAX_DEPTH):
        nodes += level
        below: list[ast.AST] = []
        for node in level:
            below += children(node)
        level = below
        if not level:
            return tuple(nodes)
    return None


def packed(module: Module) -> bool:
    """Whether the script executes something that it decodes."""
    calls = [node.func for node in module.of(ast.Call)]
    plain = {function.id for function in calls if isinstance(function, ast.Name)}
    methods = {function.attr for function in calls if isinstance(function, ast.Attribute)}
    runs = bool(plain & {"exec", "eval"} or methods & {"run_path", "run_module"})
    return runs and bool((plain | methods) & _DECODERS)


def _compiled_texts(module: Module) -> Iterator[str]:
    """Why the sources for another compiler are not read that a script has in its texts."""
    for node in module.of(ast.Constant):
        if isinstance(node.value, str) and _FOREIGN.search(node.value):
            yield f"{module.path}: compiled code in the text of line {node.lineno} is not read"


def _named_files(module: Module, submission: Submission) -> Iterator[str]:
    """Shipped files that a module imports, or names in a string."""
    for node in module.of(ast.Import, ast.ImportFrom, ast.Constant):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.replace(".", "/") + ".py" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", "/")
            names = [f"{base}.py", *(f"{base}/{alias.name}.py".lstrip("/") for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.rsplit("/", 1)[-1]
            if name.endswith((".py", *COMPILED)):
                names = [node.value.removeprefix("./"), name]
        for name in names:
            if name in submission.files or name in submission.unread:
                yield name


def functions(
    body: list[ast.stmt], owner: str | None = None
) -> Iterator[tuple[FunctionNode, str | None]]:
    """Every function below these statements, with the class whose method it is."""
    for node in body:
        if isinstance(node, FunctionNode):
            yield node, owner
            yield from functions(node.body)
        elif isinstance(node, ast.ClassDef):
            yield from functions(node.body, node.name)
        elif not isinstance(node, _SIMPLE):
            for name in ("body", "orelse", "finalbody"):
                yield from functions(getattr(node, name, []), owner)
            for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
                yield from functions(part.body, owner)
