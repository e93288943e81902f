"""Time taken in turns, so that a busy machine is busy for all alike.

Every contestant does a piece of the work, then the next piece, and so on. Processor time is
what the work costs, whoever else is there; wall time is what a user waits, and means little unless
the machine is idle.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np


@dataclass(frozen=True, slots=True)
class Seconds:
    """What something took."""

    processor: float
    wall: float

    def __add__(self, other: "Seconds") -> "Seconds":
        """Return what both took."""
        return Seconds(self.processor + other.processor, self.wall + other.wall)

    def least(self, other: "Seconds") -> "Seconds":
        """Return the smaller of each."""
        return Seconds(min(self.processor, other.processor), min(self.wall, other.wall))


NOTHING = Seconds(0.0, 0.0)


def timed(work: Callable[[], object]) -> tuple[Seconds, object]:
    """Do it once; the time of this process, threads included, and what came out."""
    processor, wall = time.process_time(), time.perf_counter()
    answer = work()
    return Seconds(time.process_time() - processor, time.perf_counter() - wall), answer


def in_turns(
    contestants: Mapping[str, Callable[[int], object]],
    pieces: int,
    same: Callable[[list[object]], None],
) -> dict[str, Seconds]:
    """Let each do piece after piece; `same` compares what they say of a piece."""
    totals = dict.fromkeys(contestants, NOTHING)
    for piece in range(pieces):
        answers = []
        for name, work in contestants.items():
            took, answer = timed(partial(work, piece))
            totals[name] += took
            answers.append(answer)
        same(answers)
    return totals


def commands_in_turns(commands: Mapping[str, list[str]], rounds: int) -> dict[str, Seconds]:
    """Run whole processes, each the given number of times; the quickest of each."""
    best: dict[str, Seconds] = {}
    for _ in range(rounds):
        for name, command in commands.items():
            before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - wall
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best[name] = best.get(name, Seconds(used, wall)).least(Seconds(used, wall))
    return best


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Return the slope of the times against the sizes, both as logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def load() -> str:
    """Say how busy the machine is."""
    return f"{os.getloadavg()[0]:.1f}"
