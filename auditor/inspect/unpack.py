"""What a packed script would execute, without executing it.

Scripts are packed to count fewer bytes: a stub decodes a string and executes it, sets variables
first, or writes it to a file that is then run. The stub's own expressions are evaluated here as far
as they are constants and calls of a fixed set of decoders; nothing else is, and every size is
bounded.
What comes out and is Python is a layer, and may be packed again.
"""

import ast
import base64
import binascii
import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import zstandard

from auditor.inspect.tree import children, walk

MAX_LAYER_BYTES = 4_000_000
"""Of one decoded string; the largest honest script has some 250,000."""
MIN_LAYER_BYTES = 40
"""Shorter strings are names and messages."""
MAX_STEPS = 20_000
MAX_NAMES = 8
"""Names followed from one to the next."""
MAX_DICTIONARY_BYTES = 2**28
"""Of an LZMA stream: memory that a decoder takes before it has seen a byte."""


class Unknown(Exception):  # noqa: N818 - an answer: this is not a constant
    """The expression cannot be evaluated here."""


def layers(tree: ast.Module) -> list[str]:
    """Return the sources that decoders of a script give, each once, in the order they stand.

    MemoryError and RecursionError are the caller's, as with any parser of hostile text.
    """
    constants = _Constants(tree)
    found: dict[str, None] = {}
    for node in _outermost(tree, constants):
        for text in _texts(constants.value(node)):
            if MIN_LAYER_BYTES <= len(text) <= MAX_LAYER_BYTES:
                found.setdefault(text)
    return list(found)


def _outermost(tree: ast.Module, constants: "_Constants") -> Iterator[ast.expr]:
    """Yield the calls whose value is decoded, without those inside them."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Call) and constants.decodes(node) and constants.known(node):
            yield node
        elif not (isinstance(node, ast.Call) and constants.decoder(node.func)):
            # What an unknown decoder would be given is not what is executed.
            waiting = [*children(node), *waiting]


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):
        try:
            yield value.decode()
        except UnicodeDecodeError:
            return
    elif isinstance(value, str):
        yield value


class _Constants:
    """Evaluates expressions of a module that are made of constants and decoders."""

    def __init__(self, tree: ast.Module) -> None:
        """Note names that are imported, and those that are assigned once."""
        self._imported: dict[str, str] = {}
        assigned: dict[str, list[ast.expr]] = {}
        for node in walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
        self._assigned = {name: values[0] for name, values in assigned.items() if len(values) == 1}
        self._steps = 0

    def decodes(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether an expression, or what its names stand for, has a decoder in it."""
        for part in walk(node):
            if isinstance(part, ast.Call) and self.decoder(part.func) is not None:
                return True
            named = self._assigned.get(part.id) if isinstance(part, ast.Name) else None
            if named is not None and depth < MAX_NAMES and self.decodes(named, depth + 1):
                return True
        return False

    def known(self, node: ast.expr) -> bool:
        """Whether an expression has a value."""
        try:
            self.value(node)
        except Unknown:
            return False
        return True

    def decoder(self, function: ast.expr) -> Callable[..., Any] | None:
        """Return the decoder that a call names, through aliases of modules and functions."""
        return DECODERS.get(self._dotted(function))

    def _dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return self._imported.get(name, name)
            case ast.Attribute(value=owner, attr=attribute):
                return f"{self._dotted(owner)}.{attribute}"
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(module))]):
                return module
            case ast.Call(func=function, args=[]):
                return f"{self._dotted(function)}()"
        return ""

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression; Unknown where it has none that can be known."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Unknown
        match node:
            case ast.Constant():
                return node.value
            case ast.Name(id=name) if name in self._assigned:
                return self.value(self._assigned[name])
            case ast.List() | ast.Tuple():
                return [self.value(item) for item in node.elts]
            case ast.Dict() if None not in node.keys:
                keys = [self.value(key) for key in node.keys if key is not None]
                return dict(zip(keys, map(self.value, node.values), strict=True))
            case ast.Attribute() | ast.Name():
                return _lzma_constant(self._dotted(node))
            case ast.BinOp(op=ast.Add()):
                left, right = self.value(node.left), self.value(node.right)
                if type(left) is type(right) and isinstance(left, str | bytes):
                    return _bounded(left + right)
            case ast.BinOp(op=ast.BitOr()):
                left, right = self.value(node.left), self.value(node.right)
                if isinstance(left, int) and isinstance(right, int):
                    return left | right
            case ast.Call():
                return self._call(node)
        raise Unknown

    def _call(self, node: ast.Call) -> Any:
        decoder = self.decoder(node.func)
        arguments = [self.value(argument) for argument in node.args]
        options = {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        if decoder is not None:
            try:
                return _bounded(decoder(*arguments, **options))
            except Exception as error:  # damaged data makes a decoder raise anything
                raise Unknown from error
        if isinstance(node.func, ast.Attribute):
            return _method(self.value(node.func.value), node.func.attr, arguments, options)
        raise Unknown


def _method(value: Any, name: str, arguments: list[Any], options: Mapping[str, Any]) -> Any:
    """Apply the few methods of texts that stubs use."""
    if options and name not in ("decode", "encode"):
        raise Unknown
    try:
        if name == "decode" and isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        if name == "encode" and isinstance(value, str):
            return value.encode()
        if name in ("strip", "split", "replace", "join") and isinstance(value, str | bytes):
            return _bounded(getattr(value, name)(*arguments))
    except (TypeError, ValueError) as error:
        raise Unknown from error
    raise Unknown


def _bounded(value: Any) -> Any:
    """Refuse what is larger than any script."""
    sizes = [len(item) for item in (value if isinstance(value, list) else [value])]
    if sum(sizes) > MAX_LAYER_BYTES:
        raise Unknown
    return value


def _lzma_constant(dotted: str) -> int:
    module, _, name = dotted.rpartition(".")
    constant = getattr(lzma, name, None) if module == "lzma" and name.isupper() else None
    if not isinstance(constant, int):
        raise Unknown
    return constant


def _lzma(
    data: bytes, format: int = lzma.FORMAT_AUTO, memlimit: Any = None, filters: Any = None
) -> bytes:
    for one in filters or ():
        if one.get("dict_size", 0) > MAX_DICTIONARY_BYTES:
            raise Unknown
    limit = None if format == lzma.FORMAT_RAW else MAX_DICTIONARY_BYTES
    return lzma.LZMADecompressor(format, limit, filters).decompress(data, MAX_LAYER_BYTES + 1)


def _zlib(data: bytes, wbits: int = zlib.MAX_WBITS, bufsize: int = 0) -> bytes:
    return zlib.decompressobj(wbits).decompress(data, MAX_LAYER_BYTES + 1)


def _gzip(data: bytes) -> bytes:
    return _zlib(data, zlib.MAX_WBITS | 16)


def _bz2(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, MAX_LAYER_BYTES + 1)


def _zstd(data: bytes, max_output_size: int = 0) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=2**27)
    with decoder.stream_reader(data) as stream:
        return stream.read(MAX_LAYER_BYTES + 1)


def _brotli(data: bytes) -> bytes:
    try:
        import brotli
    except ImportError as error:  # of the extra `ml`; without it such a script stays packed
        raise Unknown from error
    decoder, out = brotli.Decompressor(), b""
    for start in range(0, len(data), 4096):
        out += decoder.process(data[start : start + 4096])
        if len(out) > MAX_LAYER_BYTES:
            raise Unknown
    return out


DECODERS: dict[str, Callable[..., Any]] = {
    "base64.b85decode": base64.b85decode,
    "base64.a85decode": base64.a85decode,
    "base64.b64decode": base64.b64decode,
    "base64.standard_b64decode": base64.standard_b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": base64.b16decode,
    "binascii.a2b_base64": binascii.a2b_base64,
    "binascii.unhexlify": binascii.unhexlify,
    "bytes.fromhex": bytes.fromhex,
    "lzma.decompress": _lzma,
    "zlib.decompress": _zlib,
    "gzip.decompress": _gzip,
    "bz2.decompress": _bz2,
    "zstandard.decompress": _zstd,
    "zstandard.ZstdDecompressor().decompress": _zstd,
    "brotli.decompress": _brotli,
}
"""By the name under which a script finds them, whatever it calls the module."""
