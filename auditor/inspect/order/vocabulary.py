"""Words of the analysis of order: names of libraries' functions, and what names say of tokens."""

import ast
import re

from auditor.inspect.order.values import NOTHING, TRAINING, VALIDATION, Region, Value
from auditor.inspect.tree import walk

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
CONFIGURATIONS = frozenset({"args", "h", "hp", "hparams", "cfg", "config"})
"""Names that scripts give to their settings."""
STORED = frozenset({"read_bytes", "fromfile", "frombuffer", "memmap", "read"})
ZEROES = frozenset({"where", "masked_fill", "masked_fill_"})
RESETS = frozenset({"zero_", "fill_", "normal_", "uniform_", "init_", "clear", "zeros_"})
WEIGHTS = frozenset({"data", "weight", "bias", "grad"})
"""What is filled in a model to begin anew."""
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
BYTES = re.compile(r"_lut$|bytes|leading_space|boundary")
"""Tables that a token is looked up in to count its bytes: the measure, and not the model."""
_LENGTH = re.compile(r"(?:^|_)(?:n?bytes?|lens?|length)(?:_|$)|^nb$|^L$|^blen$")
OPAQUE = frozenset({"Module", "Optimizer", "Function"})
"""Bases of classes whose inside is a library's business."""


def root(node: ast.expr) -> str:
    """The name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", "")


def names_length(node: ast.expr) -> bool:
    """Whether an expression speaks of the bytes of a token."""
    names = (getattr(one, "id", getattr(one, "attr", "")) for one in walk(node))
    return any(_LENGTH.search(name) for name in names if name)


def small(node: ast.expr) -> bool:
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


def parts(node: ast.expr) -> bool:
    """Whether a slice of a list takes all of it, or the part of a rank; a beginning is not all."""
    if not isinstance(node, ast.Slice):
        return False
    return node.lower is not None or node.step is not None or small(node)


def _number(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, int)):
        return int(node.value or 0)
    return None


def literal(node: ast.Constant) -> Value:
    """A constant; a text that names shards stands for their tokens."""
    known: Value | None = node.__dict__.get("_literal")
    if known is None:
        known = node.__dict__["_literal"] = _literal(node)
    return known


def _literal(node: ast.Constant) -> Value:
    regions: frozenset[Region] = frozenset()
    if isinstance(node.value, str) and len(node.value) < 200:
        found = _SHARDS.search(node.value) if ".bin" in node.value or "*" in node.value else None
        if found:
            regions = frozenset({Region(VALIDATION if found[1] == "val" else TRAINING)})
    return Value(regions=regions, constant=node.value)


def tokens_named(name: str) -> Value:
    """Tokens that a name speaks of."""
    return named(name) if "tok" in name else NOTHING


def named(name: str) -> Value:
    """What a name that nothing defines says of itself."""
    split = _SPLIT_NAMES.get(name)
    return Value(regions=frozenset({Region(split)})) if split else NOTHING
