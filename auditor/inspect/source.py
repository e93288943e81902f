"""The Python that the entry point brings in, parsed and never executed.

Read are the training script and every shipped file that it imports or names in a string. A script
that unpacks and executes itself, a compiled helper and a file that cannot be parsed are listed as
unread, each with the reason: nobody looked into them, so nothing that depends on them can pass.
"""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.submission import Submission

MAX_SOURCE_BYTES = 2_000_000
"""The largest honest script has some 250,000 bytes; parsing takes about 100 bytes a byte."""
MAX_LINE_BYTES = 200_000
MAX_DEPTH = 150
"""Nesting beyond this is not written by people, and would exhaust the stack of a recursive walk."""
COMPILED = (".c", ".cc", ".cpp", ".cu", ".pyx", ".so")
_DECODERS = {"b85decode", "a85decode", "b64decode", "decompress", "fromhex", "unhexlify"}


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One parsed file."""

    path: str
    tree: ast.Module
    lines: tuple[str, ...]

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
        return Sources((), ("no training script was found in the folder",))
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
        modules.append(module)
        if packed(module.tree):
            unread.append(f"{path}: it is packed, and executes what it unpacks")
        for other in _named_files(module, submission):
            if other not in seen:
                seen.add(other)
                if other in submission.unread:
                    unread.append(f"{other}: {submission.unread[other]}")
                else:
                    queue.append(other)
    return Sources(tuple(modules), tuple(unread))


def parse(path: str, data: bytes) -> Module | str:
    """The parsed file, or why it cannot be read."""
    if len(data) > MAX_SOURCE_BYTES:
        return f"expected at most {MAX_SOURCE_BYTES:,} bytes of source, found {len(data):,}"
    longest = max(map(len, data.split(b"\n")), default=0)
    if longest > MAX_LINE_BYTES:
        return f"expected lines of at most {MAX_LINE_BYTES:,} bytes, found one of {longest:,}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data, filename=path)
        if not shallow(tree):
            return f"its syntax tree is more than {MAX_DEPTH} levels deep"
    except (SyntaxError, ValueError) as error:
        return f"it cannot be parsed as Python ({error})"
    except (RecursionError, MemoryError):
        return "it is too deeply nested to be parsed"
    return Module(path, tree, tuple(data.decode("utf-8", errors="replace").splitlines()))


def shallow(tree: ast.AST) -> bool:
    """Whether no node lies deeper than a recursive walk can safely go."""
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return True
    return False


def packed(tree: ast.Module) -> bool:
    """Whether the script executes something that it decodes."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    plain = {function.id for function in calls if isinstance(function, ast.Name)}
    methods = {function.attr for function in calls if isinstance(function, ast.Attribute)}
    return bool(plain & {"exec", "eval"}) and bool((plain | methods) & _DECODERS)


def _named_files(module: Module, submission: Submission) -> Iterator[str]:
    """Shipped files that a module imports, or names in a string."""
    for node in ast.walk(module.tree):
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
