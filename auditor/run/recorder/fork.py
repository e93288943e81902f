"""The charge at one position for tokens that could stand there, by forking the process.

Just before a position is read the process is copied once a token; each copy overwrites the position
in every array that holds that stretch of the stream, runs on to the charge, reports it and ends.
Charges only add to the sum, so it is proved to be too large as soon as it is; tokens that come
after are not tried.

Where to fork is found by trial: copies that sleep are left at several distances before the charge,
and one made at the very beginning of the stage, with one other token, says what the right answer
is. The nearest sleeper whose own answer for that token is the same serves: whatever lies between it
and the charge is computed again for every token. The original goes on unchanged.
"""

import contextlib
import ctypes
import functools
import gc
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .channel import Channel, unpacked

DISTANCES = (4, 6, 9, 13, 20, 30, 45, 68, 100, 150, 225, 340, 510)
"""Events before the charge at which a copy is left."""
GRAM = 8
"""Tokens by which a stretch of the stream is known; the auditor asks for positions where they are
unique."""
MAX_ELEMENTS = 50_000_000
HOLDERS = (np.ndarray, torch.Tensor, list)
CHILD_SECONDS = 120
"""Of processor time; the run itself has a limit of wall-clock time."""
PARALLEL = len(os.sched_getaffinity(0))


@dataclass
class Site:
    """One position that was asked for."""

    position: int
    charge_order: int
    """Event that charged it in an equal run."""
    index: int
    """Which element it is among the charges of the stage."""
    other: int
    """The token of the early copy."""
    values: list[int]
    """Tokens to try, in this order."""
    right: float | None = None
    """What the early copy answered."""
    sleepers: list["Sleeper"] = field(default_factory=list)


@dataclass
class Sleeper:
    """A copy that waits for its turn."""

    distance: int
    pid: int
    wake: int
    answer: int


class Forks:
    """Listens to the channel's events, and forks at the right ones."""

    def __init__(self, channel: Channel, stream: Any, ask: dict[str, Any]) -> None:
        """`ask` names the stage's first event and what its score is called, charges, and sites.

        A charge counts as up to `rounding` larger, and `enough` is where the sum may end.
        """
        self._channel = channel
        self._stream = stream.astype(np.int64)
        self._begins: int = ask["begins"]
        self._charging = (ask["kind"], tuple(ask["site"]) if ask["site"] else None)
        self._ends: str = ask["ends"]
        self._rounding: float = ask["rounding"]
        self._enough: float = ask["enough"]
        self._sites = [Site(**site) for site in ask["sites"]]
        self._counted = 0
        self._wanted: list[tuple[Callable[[float | None], None], int]] = []
        self._child = False
        self._busy = False

    def before(self, order: int, kind: str, facts: dict[str, Any]) -> bool:
        """Called with each event before it is sent; True when it is not to be sent."""
        if order < self._begins or self._busy:
            return self._child
        if not self._child:
            self._busy = True
            self._fork(order)
            self._busy = False
        self._count(kind, facts)
        return self._child

    def _fork(self, order: int) -> None:
        """What has to be forked at this event; returns in copies too."""
        if order == self._begins:
            self._early()
        for number, site in enumerate(self._sites):
            for distance in DISTANCES:
                if self._child:
                    return
                at = max(site.charge_order - distance, self._begins + 1)
                if order == at and distance not in [one.distance for one in site.sleepers]:
                    self._leave(number, site, distance)
            if not self._child and order == site.charge_order:
                self._wake(site)

    def _count(self, kind: str, facts: dict[str, Any]) -> None:
        """Follow the charges of the stage; a copy that has what it wants ends here."""
        is_end = kind == "environment" or (kind == "line" and self._ends in facts["text"])
        if self._child and is_end:
            os._exit(0)
        site = facts.get("site")
        if (kind, site) != self._charging or facts.get("learning"):
            return
        nats = unpacked(facts["nats"]).reshape(-1)
        begins, self._counted = self._counted, self._counted + nats.size
        for done, index in list(self._wanted):
            if begins <= index < self._counted:
                done(float(nats[index - begins]))
                self._wanted.remove((done, index))
        if self._child and not self._wanted:
            os._exit(0)

    # --- at the beginning of the stage ---------------------------------------------------------

    def _early(self) -> None:
        """One copy with all the other tokens, and one for each site; the original waits."""
        places = {number: list(self._places(site)) for number, site in enumerate(self._sites)}
        everything = list(enumerate(self._sites))
        self._ask(
            everything, places, lambda n, v: self._say("together", n, self._sites[n].other, v)
        )
        for number, site in everything:
            if self._child:
                return
            read, write = os.pipe()

            pid = self._ask([(number, site)], places, lambda _, nats, w=write: _tell(w, nats))  # type: ignore[misc]
            if pid:
                os.close(write)
                answer = _line(read)
                site.right = json.loads(answer) if answer else None
                self._say("early", number, site.other, site.right)

    def _ask(
        self,
        sites: list[tuple[int, Site]],
        places: dict[int, list["Place"]],
        done: Callable[[int, float | None], None],
    ) -> int:
        """Fork a copy with other tokens at some sites and wait for its end; 0 in the copy."""
        if self._child:
            return 0
        pid = self._copy()
        if pid:
            os.waitpid(pid, 0)
            return pid
        for number, site in sites:
            for place in places[number]:
                place.write(site.other)
            self._wanted.append((lambda nats, n=number: done(n, nats), site.index))  # type: ignore[misc]
        return 0

    # --- just before the charge ----------------------------------------------------------------

    def _leave(self, number: int, site: Site, distance: int) -> None:
        """Leave a sleeping copy here."""
        self._channel.flush()
        wake_read, wake_write = os.pipe()
        answer_read, answer_write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(wake_read)
            os.close(answer_write)
            site.sleepers.append(Sleeper(distance, pid, wake_write, answer_read))
            return
        os.close(wake_write)
        os.close(answer_read)
        self._sleep(number, site, distance, wake_read, answer_write)

    def _sleep(self, number: int, site: Site, distance: int, wake: int, answer: int) -> None:
        """Do what the original says, until it says no more; returns in copies of this one alone.

        Said in words: copies made since hold the pipe open, so its end would not be seen.
        """
        places: list[Place] = []
        while (word := os.read(wake, 1)) in (b"?", b"!"):
            places = places or list(self._places(site))
            if word == b"?":
                (nats,) = self._charged(places, site, [site.other]).values() or (None,)
                if self._child:
                    return
                _tell(answer, nats)
            else:
                began, used = time.monotonic(), _processor_seconds()
                results = self._charged(places, site, site.values)
                if self._child:
                    return
                for value, nats in results.items():
                    self._say("vocabulary", number, value, nats)
                seconds, used = time.monotonic() - began, _processor_seconds() - used
                facts = {"kind": "served", "order": 0, "number": number, "distance": distance}
                facts |= {"copies": len(results), "seconds": seconds, "processor": used}
                self._channel.say(json.dumps(facts))
                _tell(answer, None)
        os._exit(0)

    def _wake(self, site: Site) -> None:
        """Ask sleepers for the right answer; the nearest that gives it serves, and all end.

        What a copy answers is right from some distance on, so halves are searched.
        """
        sleepers = sorted(site.sleepers, key=lambda one: one.distance)
        first, last = 0, len(sleepers) if site.right is not None else 0
        while first < last:
            middle = (first + last) // 2
            if _answer(sleepers[middle], b"?") == json.dumps(site.right):
                last = middle
            else:
                first = middle + 1
        if site.right is not None and first < len(sleepers):
            _answer(sleepers[first], b"!")
        for one in sleepers:
            _answer(one, b"-")
            os.close(one.wake)
            os.close(one.answer)
            os.waitpid(one.pid, 0)

    def _charged(
        self, places: list["Place"], site: Site, values: list[int]
    ) -> dict[int, float | None]:
        """What one copy a token charges, until they are enough; returns nothing in those copies."""
        results: dict[int, float | None] = {}
        running: dict[int, tuple[int, int]] = {}
        waiting, least = values[::-1], 0.0
        while (waiting and least < self._enough) or running:
            while waiting and least < self._enough and len(running) < PARALLEL:
                value = waiting.pop()
                read, write = os.pipe()
                pid = self._copy()
                if not pid:
                    os.close(read)
                    for place in places:
                        place.write(value)
                    self._wanted.append((functools.partial(_tell, write), site.index))
                    return {}
                os.close(write)
                running[read] = pid, value
            for read in select.select(list(running), [], [])[0]:
                pid, value = running.pop(read)
                said = _line(read)
                os.close(read)
                os.waitpid(pid, 0)
                nats = results[value] = json.loads(said) if said else None
                if nats is not None:
                    least += math.exp(-nats * (1 + self._rounding))
        return results

    def _copy(self) -> int:
        """Fork a copy that says nothing of its own and ends in any case."""
        self._channel.flush()
        pid = os.fork()
        if not pid:
            self._child = True
            self._channel.only = self._charging
            gc.disable()  # a collection would touch, and so copy, every page
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, CHILD_SECONDS)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        return pid

    def _say(self, what: str, number: int, value: int, nats: float | None) -> None:
        """Straight into the pipe: one short line is never torn apart."""
        facts = {"kind": "forked", "order": 0, "what": what, "number": number}
        self._channel.say(json.dumps({**facts, "value": value, "nats": nats}))

    # --- the stream in memory ------------------------------------------------------------------

    def _places(self, site: Site) -> Iterator["Place"]:
        """Everywhere in memory where the token at a position stands among its neighbours."""
        q = site.position
        token = int(self._stream[q])
        before, after = self._stream[q - GRAM + 1 : q + 1], self._stream[q : q + GRAM]
        for whole in _integers():
            flat = _flat(whole)
            if flat is None:
                continue
            for index in np.flatnonzero(flat == token).tolist():
                left, right = flat[max(index - GRAM + 1, 0) : index + 1], flat[index : index + GRAM]
                if np.array_equal(left, before) or np.array_equal(right, after):
                    yield Place(whole, index)


@dataclass
class Place:
    """One element of an array, a tensor or a list."""

    whole: Any
    index: int

    def write(self, token: int) -> None:
        """Overwrite it, read-only or not."""
        if isinstance(self.whole, list):
            self.whole[self.index] = token
            return
        if isinstance(self.whole, torch.Tensor):
            size = self.whole.element_size()
            start = self.whole.data_ptr()
        else:
            size = self.whole.itemsize
            start = self.whole.__array_interface__["data"][0]
        content = token.to_bytes(size, sys.byteorder)
        ctypes.memmove(start + self.index * size, content, size)


def _answer(sleeper: Sleeper, word: bytes) -> str:
    """Say a word to a sleeper, and wait for its answer; empty when it has none, or is no more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sleeper.wake, word)
    return _line(sleeper.answer)


def _processor_seconds() -> float:
    """Of this process and its children that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _integers() -> Iterator[Any]:
    """Arrays, tensors and lists of whole numbers that the process holds."""
    seen: set[int] = set()
    for frame in sys._current_frames().values():
        inner: Any = frame
        while inner is not None:
            for value in list(inner.f_locals.values()):
                if id(value) not in seen and _is_of_integers(value):
                    seen.add(id(value))
                    yield value
            inner = inner.f_back
    tracked = gc.get_objects()
    holds: dict[type, bool] = {}
    # By type alone: there are a million, and a proxy of what is gone cannot be asked for its class.
    for value in (*tracked, *gc.get_referents(*tracked)):
        kind = type(value)
        if kind not in holds:
            holds[kind] = issubclass(kind, HOLDERS)
        if holds[kind] and id(value) not in seen and _is_of_integers(value):
            seen.add(id(value))
            yield value


def _is_of_integers(value: Any) -> bool:
    kind = type(value)
    if issubclass(kind, np.ndarray):
        whole = value.dtype.kind in "iu" and value.flags.c_contiguous
        return bool(whole and GRAM <= value.size <= MAX_ELEMENTS)
    if issubclass(kind, torch.Tensor):
        if value.is_floating_point() or value.is_complex() or value.dtype is torch.bool:
            return False
        plain = value.layout is torch.strided and value.is_contiguous()
        return plain and GRAM <= value.numel() <= MAX_ELEMENTS
    return kind is list and len(value) >= GRAM and all(type(v) is int for v in value[:GRAM])


def _flat(whole: Any) -> Any:
    """Its elements in order, as an array; None when they cannot be read as one."""
    try:
        if isinstance(whole, torch.Tensor):
            if whole.dtype is torch.uint16:
                return whole.detach().view(torch.int16).numpy().view(np.uint16).reshape(-1)
            return whole.detach().numpy().reshape(-1)
        return np.asarray(whole).reshape(-1)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        return None


def _tell(descriptor: int, nats: float | None) -> None:
    """The other end of `_line`."""
    os.write(descriptor, (json.dumps(nats) + "\n").encode())


def _line(descriptor: int) -> str:
    """What comes through a pipe up to its end or a line break."""
    said = b""
    while chunk := os.read(descriptor, 4096):
        said += chunk
        if b"\n" in chunk:
            break
    return said.decode().strip()
