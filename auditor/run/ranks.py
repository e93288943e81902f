"""One order for the events of several ranks.

Ranks learn of one another at collectives alone, and all of them call the same ones in the same
order. So the number of collectives that a rank has called is a clock that agrees with every cause
and effect; between two of them the ranks follow one another by number. Two equal runs give equal
orders, which no clock on a wall would.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def in_order(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Decoded events; those of several ranks in one order, numbered anew, scores of rank 0 alone.

    Raises ValueError, KeyError or TypeError where a line is no event.
    """
    several: list[tuple[int, int, dict[str, Any]]] = []
    collectives: dict[int, int] = {}
    for line in lines:
        event = json.loads(line)
        rank = event.pop("rank", None)
        if rank is None:
            yield event
        elif event["kind"] == "collective":
            collectives[rank] = collectives.get(rank, 0) + 1
        elif rank == 0 or event["kind"] != "line":
            several.append((collectives.get(rank, 0), int(rank), event))
    several.sort(key=lambda one: one[:2])  # stable: of one rank in its own order
    for number, (_, _, event) in enumerate(several):
        yield event | {"order": number}
