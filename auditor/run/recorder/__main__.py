"""Run one script of a submission under the recorder: `python -m recorder SCRIPT`.

Reads STRICT_PREFIX_RANKS, which starts so many of it, and STRICT_PREFIX_EVENTS_FD,
STRICT_PREFIX_VOCAB_SIZE, STRICT_PREFIX_SCALE and STRICT_PREFIX_ASK, and removes them from the
environment before the script starts. What may be asked for: another run's artifact in the place of
this one's (`transplant`, names of the files in ../given), an end after so many artifacts
(`stop_after_artifacts`), the charges of all tokens at some positions (`fork`, see there), to see
nothing but what is printed (`watch`: false), and `threads`.
"""

import json
import os
import sys
import types

import numpy as np
import torch

from . import files, fork, stand_ins, watch
from .channel import Channel
from .grammar import lowered  # type: ignore[import-not-found]  # laid beside it for a run
from .launch import launch
from .side_car import SideCar
from .sources import Sources


def main() -> None:
    """Install the watch, then run the script as `__main__` in the working directory."""
    descriptor = int(os.environ.pop("STRICT_PREFIX_EVENTS_FD"))
    ranks = int(os.environ.pop("STRICT_PREFIX_RANKS", "1"))
    if ranks > 1:
        sys.exit(launch(ranks, descriptor))
    rank = int(os.environ.get("RANK", "0"))
    vocab_size = int(os.environ.pop("STRICT_PREFIX_VOCAB_SIZE"))
    factor = float(os.environ.pop("STRICT_PREFIX_SCALE"))
    ask = json.loads(os.environ.pop("STRICT_PREFIX_ASK", "{}"))
    folder = os.getcwd()
    script = os.path.join(folder, sys.argv[1])
    channel = Channel(descriptor, folder)

    def report(file: str, line: int, old: int, new: int) -> None:
        channel.send("scaled", file=file, line=line, old=old, new=new)

    asked = watch.watch_environment()
    # One thread and fixed seeds: two equal runs must give equal events, to the last bit.
    torch.set_num_threads(ask.get("threads", 1))
    files.seed_random_numbers()
    sys.argv = [script, *sys.argv[2:]]
    sys.path[0] = folder
    root = os.path.dirname(folder)
    stream = np.fromfile(
        os.path.join(root, "data", "fineweb_val_000000.bin"), dtype="<u2", offset=1024
    )
    side_car = SideCar(os.path.join(root, "offered"), os.path.join(root, "data"), stream)
    sources = Sources(folder, factor, report, lowered, side_car.offer)
    sources.install()
    with open(script, "rb") as file:
        code = sources.compiled(file.read(), script)
    module = types.ModuleType("__main__")
    module.__file__ = script
    sys.modules["__main__"] = module
    used: set[str] = set()
    if rank == 0:
        stand_ins.programs.install(os.environ["PATH"].split(":")[0])
    device = stand_ins.install(used.add)
    files.follow(channel, root, ask, first=rank == 0)
    if "RANK" in os.environ:
        stand_ins.ranks.count(lambda: channel.send("collective"))
    if "fork" in ask:
        forks = fork.Forks(channel, stream, ask["fork"])
        channel.before, channel.ahead = forks.before, forks.ahead
    watch.listen(channel)
    mode = watch.install(channel, vocab_size, side_car) if ask.get("watch", True) else None
    try:
        exec(code, module.__dict__)
    finally:
        if device is not None:
            device.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # as above
        spent = sum(os.times()[:4])  # of this process and of those that it waited for
        names, stood_in = sorted(asked), sorted(used)
        channel.send("environment", names=names, stand_ins=stood_in, processor=spent)
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch's, untyped
        channel.close()


if __name__ == "__main__":
    main()
