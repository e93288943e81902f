"""The charge at one position for tokens that could stand there, by forking the process.

Just before a position is read the process is copied once a token; each copy overwrites the position
in every array that holds that stretch of the stream, runs on to the charge, reports it and ends.
Charges only add to the sum, so it is proved to be too large as soon as it is; tokens that come
after are not tried.

Where to fork is found by trial: copies that sleep are left at several distances before the charge,
and one made at the very beginning of the stage, with one other token, says what the right answer
is. The nearest sleeper whose own answer for that token is the same serves: whatever lies between it
and the charge is computed again for every token. The original goes on unchanged.

Most of what lies between is the network's forward pass, of a whole batch. So copies are left behind
it as well, where its scores are about to become charges. One of them serves when it answers for
some tokens, the likely ones above all, as the nearest sleeper does, and its sum is not too large.
"""

import contextlib
import functools
import gc
import json
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import pages
from .channel import Channel, unpacked
from .places import Place, find

DISTANCES = (4, 6, 9, 13, 20, 30, 45, 68, 100, 150, 225, 340, 510)
"""Events before the charge at which a copy is left."""
REACH, BEHIND = 100, 3
"""Within so many events before the charge copies are left behind the network, the last few."""
LIKELY, UNLIKELY = 4, 2
"""Tokens, from both ends of the list, on which copies in front of and behind it must agree."""
FULL = 1 + 1e-6
"""What charges of a distribution add up to at most, in 32 bits."""
MANY = 16
"""Copies for which it pays to join the pages that they are made of."""
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
    is_behind: bool
    """Behind the network's forward pass."""
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

    def ahead(self, order: int) -> None:
        """Called before scores become charges, with the number of the event to come."""
        if order <= self._begins or self._busy or self._child:
            return
        self._busy = True
        for site in self._sites:
            distance = site.charge_order - order
            if 0 <= distance <= REACH and not self._child:
                self._leave(site, distance, is_behind=True)
                if not self._child:
                    _forget(site)
        self._busy = False

    def _fork(self, order: int) -> None:
        """What has to be forked at this event; returns in copies too."""
        if order == self._begins:
            self._early()
        for number, site in enumerate(self._sites):
            for distance in DISTANCES:
                if self._child:
                    return
                at = max(site.charge_order - distance, self._begins + 1)
                taken = [one.distance for one in site.sleepers if not one.is_behind]
                if order == at and distance not in taken:
                    self._leave(site, distance, is_behind=False)
            if not self._child and order == site.charge_order:
                self._wake(number, site)

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
        places = {
            number: list(find(self._stream, site.position))
            for number, site in enumerate(self._sites)
        }
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
        places: dict[int, list[Place]],
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

    def _leave(self, site: Site, distance: int, *, is_behind: bool) -> None:
        """Leave a sleeping copy here."""
        self._channel.flush()
        wake_read, wake_write = os.pipe()
        answer_read, answer_write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(wake_read)
            os.close(answer_write)
            site.sleepers.append(Sleeper(distance, is_behind, pid, wake_write, answer_read))
            return
        os.close(wake_write)
        os.close(answer_read)
        self._sleep(site, wake_read, answer_write)

    def _sleep(self, site: Site, wake: int, answer: int) -> None:
        """Do what the original says, until it says no more; returns in copies of this one alone.

        Said in words: copies made since hold the pipe open, so its end would not be seen.
        """
        asked = {
            b"?": [site.other],
            b"~": [*site.values[:LIKELY], *site.values[LIKELY:][-UNLIKELY:]],
            b"!": site.values,
        }
        places: list[Place] = []
        while (word := os.read(wake, 1)) in asked:
            places = places or list(find(self._stream, site.position))
            results = self._charged(places, site, asked[word])
            if self._child:
                return
            _tell(answer, sorted(results.items()))
        os._exit(0)

    def _wake(self, number: int, site: Site) -> None:
        """Ask sleepers for the right answer; one that gives it serves, and all end."""
        began, used = time.monotonic(), _processor_seconds()
        front = self._right(site)
        serves, charged = (None, []) if front is None else self._served(site, front)
        while site.sleepers:
            _end(site.sleepers.pop())
        if serves is None:
            return
        seconds, used = time.monotonic() - began, _processor_seconds() - used
        facts = {"kind": "served", "order": 0, "number": number, "distance": serves.distance}
        facts |= {"copies": len(charged), "seconds": seconds, "processor": used}
        self._channel.flush()
        for value, nats in charged:
            self._say("vocabulary", number, value, nats)
        self._channel.say(json.dumps(facts))

    def _served(self, site: Site, front: Sleeper) -> tuple[Sleeper, list[list[Any]]]:
        """Who serves, and what is charged for every token."""
        behind = self._behind(site, front)
        if behind is not None:
            charged = _answer(behind, b"!")
            # A sum that is too large must not rest on the few tokens on which they agreed.
            if math.fsum(math.exp(-nats) for _, nats in charged if nats is not None) <= FULL:
                return behind, charged
        return front, _answer(front, b"!")

    def _right(self, site: Site) -> Sleeper | None:
        """The nearest sleeper in front of the network that answers as one must.

        What a copy answers is right from some distance on, so halves are searched.
        """
        if site.right is None:
            return None
        right = [[site.other, site.right]]
        found = sorted((one for one in site.sleepers if not one.is_behind), key=_distance)
        first, last = 0, len(found)
        while first < last:
            middle = (first + last) // 2
            if _answer(found[middle], b"?") == right:
                last = middle
            else:
                first = middle + 1
        return found[first] if first < len(found) else None

    def _behind(self, site: Site, front: Sleeper) -> Sleeper | None:
        """One behind the network that answers as the nearest in front of it does."""
        some: list[list[Any]] = []
        for one in sorted(site.sleepers, key=_distance):
            if not one.is_behind or one.distance >= front.distance:
                continue
            if _answer(one, b"?") != [[site.other, site.right]]:
                continue
            some = some or _answer(front, b"~")
            if self._least(nats for _, nats in some) >= self._enough:
                return None  # the sum of these is large enough, and no more are tried
            if _answer(one, b"~") == some:
                return one
        return None

    def _least(self, charged: Iterable[float | None]) -> float:
        """What these charges add to the sum at least."""
        known = [nats for nats in charged if nats is not None]
        return math.fsum(math.exp(-nats * (1 + self._rounding)) for nats in known)

    def _charged(
        self, places: list[Place], site: Site, values: list[int]
    ) -> dict[int, float | None]:
        """What one copy a token charges, until they are enough; returns nothing in those copies."""
        results: dict[int, float | None] = {}
        running: dict[int, tuple[int, int]] = {}
        waiting, least, are_joined = values[::-1], 0.0, False
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
                least += self._least([nats])
            if waiting and not are_joined and len(results) >= MANY:
                pages.join()
                are_joined = True
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


def _answer(sleeper: Sleeper, word: bytes) -> list[list[Any]]:
    """Say a word to a sleeper, and wait for tokens and charges; none when it is no more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sleeper.wake, word)
    return json.loads(_line(sleeper.answer) or "[]")  # type: ignore[no-any-return]


def _end(sleeper: Sleeper) -> None:
    """Wake it for the last time."""
    _answer(sleeper, b"-")
    os.close(sleeper.wake)
    os.close(sleeper.answer)
    os.waitpid(sleeper.pid, 0)


def _distance(one: Sleeper) -> int:
    return one.distance


def _forget(site: Site) -> None:
    """Keep the last few that were left behind the network."""
    behind = [one for one in site.sleepers if one.is_behind]
    for one in behind[:-BEHIND]:
        site.sleepers.remove(one)
        _end(one)


def _processor_seconds() -> float:
    """Of this process and its children that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _tell(descriptor: int, answer: Any) -> None:
    """The other end of `_line`."""
    said = (json.dumps(answer) + "\n").encode()
    while said:
        said = said[os.write(descriptor, said) :]


def _line(descriptor: int) -> str:
    """What comes through a pipe up to its end or a line break."""
    said = b""
    while chunk := os.read(descriptor, 4096):
        said += chunk
        if b"\n" in chunk:
            break
    return said.decode().strip()
