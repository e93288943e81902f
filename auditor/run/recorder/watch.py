"""What is watched: the calls through which every script charges, counts and learns.

- a look-up of tokens in an integer table as long as the vocabulary: the byte table, which marks
  exactly the tokens being charged, because bits per byte needs it; or of their places in the
  side-car, which has the bytes of each place;
- the sum of a float tensor, and cross entropies: where charges are added up;
- cross entropies with a gradient, and optimiser steps: learning;
- writes into counters (`np.add.at`, `np.bincount`, `scatter_add_`, `index_add_`, `index_put_`),
  with the token arrays that the writing function holds.

Dispatch happens on torch functions and on numpy by replacement of three names, so a cache kept in a
Python dict or in compiled code is not seen here; the experiments on the score still see its effect.
"""

import os
import sys
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from .channel import Channel, packed
from .side_car import SideCar

MAX_REACH = 4
"""Token arrays that are sent with a write: of the innermost function that holds any."""
WRITES = {"scatter_add_", "index_add_", "index_put_"}
MOST_BYTES = 64
"""Of one piece of a tokenizer."""
LOOKS = {"__getitem__", "index_select", "take"}
CHARGING = {"cross_entropy", "gather", "log_softmax", "softmax"}
"""What makes charges of a network's scores."""
UNSEEN = torch._C.DisableTorchFunction
"""What the recorder itself computes needs no stand-in, and is not watched."""


class Watch(TorchFunctionMode):
    """Reports torch calls that charge, count or learn."""

    def __init__(self, channel: Channel, vocab_size: int, side_car: SideCar | None = None) -> None:
        """Send to `channel`; byte tables have at least `vocab_size` entries."""
        super().__init__()
        self._side_car = side_car
        self._channel = channel
        self._vocab_size = vocab_size

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let the call happen, then report it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in WRITES:
            with UNSEEN():
                self._write(name, args[0], entries=_entries(args[1:]))
        elif name in CHARGING:
            self._channel.charging()
        result = func(*args, **kwargs)
        if name in LOOKS and len(args) > 1:
            if isinstance(args[0], torch.Tensor) and isinstance(
                args[-1], torch.Tensor | slice | int
            ):
                with UNSEEN():
                    self._look(args[0], args[-1])
        elif name == "sum" and len(args) == 1 and not kwargs:
            with UNSEEN():
                self._sum(args[0], result)
        elif name == "cross_entropy":
            with UNSEEN(), torch.no_grad():
                self._cross_entropy(result, *args, **kwargs)
        return result

    def _cross_entropy(self, result: Any, input: Any, target: Any, *_: Any, **__: Any) -> None:
        """Where something is learnt only its targets are of interest."""
        site = self._channel.site()
        if target.is_floating_point() or input.dim() != 2 or not self._channel.wants("loss", site):
            return
        learning = result.requires_grad
        targets = target.detach().reshape(-1, 1).clamp(min=0)
        if result.dim() or learning:
            nats = result.detach().reshape(-1)
        else:
            nats = -torch.log_softmax(input.double(), dim=-1).gather(1, targets).squeeze(1)
        self._channel.send(
            "loss",
            site=site,
            learning=learning,
            tokens=packed(targets.squeeze(1).to(torch.int32).numpy(force=True)),
            nats=packed(nats.double().numpy(force=True)),
        )

    def _look(self, table: Any, index: Any) -> None:
        """A byte table is 1-D, integer and as long as the vocabulary, or as the stream."""
        if table.dim() != 1 or table.is_floating_point() or table.dtype is torch.bool:
            return
        by_tensor = isinstance(index, torch.Tensor)
        if by_tensor and (index.dtype not in (torch.int64, torch.int32) or not index.numel()):
            return
        tokens = None
        of_pieces = self._vocab_size <= table.numel() <= self._vocab_size + 1024
        if by_tensor and of_pieces:
            tokens = index.detach().to(torch.int32).numpy(force=True)
        elif of_pieces and type(index) is int and int(table.max()) <= MOST_BYTES:
            # A loop over tokens; one over a stretch of the stream meets larger numbers than bytes.
            tokens = np.array([index % table.numel()], dtype=np.int32)
        elif self._side_car is not None:
            tokens = self._side_car.tokens(table, index)
        if tokens is not None and tokens.size and self._channel.wants("look"):
            self._channel.send("look", site=self._channel.site(), tokens=packed(tokens))

    def _sum(self, values: Any, result: Any) -> None:
        """Only whole sums of floats, taken where nothing is learnt."""
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            return
        if values.requires_grad or result.dim() != 0:
            return
        site = self._channel.site()
        if site is not None and self._channel.wants("sum", site):
            nats = values.detach().double().numpy(force=True)
            self._channel.send("sum", site=site, nats=packed(nats.reshape(-1)))

    def _write(self, name: str, table: Any, entries: int) -> None:
        """A counter is a table without a gradient and larger than a handful."""
        if isinstance(table, torch.Tensor) and not table.requires_grad and table.numel() > 64:
            before = float(table.detach().double().abs().sum())
            report_write(self._channel, self._vocab_size, name, table.data_ptr(), before, entries)


def watch_numpy(channel: Channel, vocab_size: int) -> None:
    """Replace `np.add` by a proxy that reports `np.add.at`, and wrap `np.bincount`."""
    add, bincount = np.add, np.bincount

    class Add:
        """Stands for np.add, whose attributes cannot be replaced."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return add(*args, **kwargs)

        def __getattr__(self, name: str) -> Any:
            return getattr(add, name)

        def at(self, table: Any, *args: Any) -> None:
            if np.size(table) > 1:  # the first table of a growing cache is small
                before = float(np.abs(np.asarray(table, dtype=np.float64)).sum())
                address = np.asarray(table).__array_interface__["data"][0]
                entries = int(np.size(args[0])) if args else 0
                report_write(channel, vocab_size, "add.at", address, before, entries)
            add.at(table, *args)

    def counted(*args: Any, **kwargs: Any) -> Any:
        report_write(channel, vocab_size, "bincount", 0, 0.0, int(np.size(args[0])) if args else 0)
        return bincount(*args, **kwargs)

    np.add = Add()  # type: ignore[assignment]  # the proxy answers like the ufunc
    np.bincount = counted


def watch_environment() -> set[str]:
    """Note from now on which environment variables are asked for."""
    asked: set[str] = set()
    kind = type(os.environ)
    original = kind.__getitem__

    def noted(environ: Any, name: str) -> str:
        asked.add(str(name))
        value: str = original(environ, name)
        return value

    kind.__getitem__ = noted  # type: ignore[method-assign]  # `get` and `in` come through here too
    return asked


def report_write(
    channel: Channel, vocab_size: int, how: str, table: int, before: float, entries: int
) -> None:
    """Send a counter write with the token arrays in reach of the function that writes.

    Of those the ones as long as the index come first: an n-gram of order k indexes k - 1 entries
    fewer than it has tokens, while the whole stream, if it is in reach too, is much longer.
    """
    if not channel.wants("write"):
        return
    frame = channel.frame()
    fitting: list[Any] = []
    while frame is not None and not fitting:
        arrays = [np.asarray(_plain(v)) for v in frame.f_locals.values() if _is_tokens(v)]
        fitting = [a for a in arrays if a.min() >= 0 and a.max() < vocab_size]
        frame = frame.f_back
    fitting.sort(key=lambda tokens: abs(len(tokens) - entries))
    channel.send(
        "write",
        site=channel.site(),
        how=how,
        table=table,
        before=before,
        reach=[packed(tokens.astype(np.int32)) for tokens in fitting[:MAX_REACH]],
    )


def _entries(arguments: Any) -> int:
    """How many entries a torch write touches: the size of its largest tensor argument."""
    sizes = [part.numel() for part in arguments if isinstance(part, torch.Tensor)]
    return max(sizes, default=0)


def _is_tokens(value: Any) -> bool:
    """A 1-D integer array or tensor with at least two elements."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.size > 1 and value.dtype.kind in "iu"
    if isinstance(value, torch.Tensor):
        whole = not value.is_floating_point() and value.dtype is not torch.bool
        return value.dim() == 1 and value.numel() > 1 and whole
    return False


def _plain(value: Any) -> Any:
    """A tensor as a numpy array."""
    return value.detach().numpy(force=True) if isinstance(value, torch.Tensor) else value


class Echo:
    """Stands for sys.stdout: passes everything on, and reports lines that state a score."""

    def __init__(self, stream: Any, channel: Channel) -> None:
        """Pass on to `stream`."""
        self._stream = stream
        self._channel = channel
        self._line = ""

    def write(self, text: str) -> int:
        """Write on, and send each complete line that holds a score."""
        self._line += text
        *lines, self._line = self._line.split("\n")
        self._line = self._line[-10_000:]
        for line in lines:
            if "bpb" in line or "BPB" in line or "val_loss" in line:
                self._channel.send("line", text=line[:1_000])
        written: int = self._stream.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        """Everything else is the real stream's."""
        return getattr(self._stream, name)


def listen(channel: Channel) -> None:
    """Report what the script prints."""
    sys.stdout = Echo(sys.stdout, channel)


def install(channel: Channel, vocab_size: int, side_car: SideCar | None = None) -> Watch:
    """Start watching; returns the torch mode, which must stay entered."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    watch_numpy(channel, vocab_size)
    register_optimizer_step_post_hook(
        lambda optimizer, args, kwargs: channel.send("step", site=channel.site())
    )
    watch = Watch(channel, vocab_size, side_car)
    watch.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return watch
