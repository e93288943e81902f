"""The recorder's lines, checked and typed; whatever does not fit ends the run as evidence."""

import base64
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure
from auditor.evidence import ScoreLine
from auditor.run.ranks import in_order
from auditor.score_lines import read_score

Site = tuple[str, int, str]
"""File, line and function in the submission."""

SCORE = re.compile(
    r"^\s{0,8}(?P<label>[\w.+\-]{1,80})[ :]{1,4}.{0,200}?val_loss[:=]\s?(?P<loss>\d{1,4}\.\d{1,12})"
    r"[, ]{1,4}val_bpb[:=]\s?(?P<bpb>\d{1,4}\.\d{1,12})"
)


@dataclass(frozen=True, slots=True)
class Look:
    """Tokens looked up in the byte table: they are being charged."""

    order: int
    site: Site | None
    rows: list[NDArray[np.int32]]
    """One run of tokens for each row of the index."""


@dataclass(frozen=True, slots=True)
class Values:
    """Floats that may be charges: an added-up tensor, or a cross entropy."""

    order: int
    kind: str
    site: Site | None
    nats: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learn:
    """A loss with a gradient, by its targets."""

    order: int
    site: Site | None
    tokens: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Step:
    """An optimiser step."""

    order: int
    site: Site | None


@dataclass(frozen=True, slots=True)
class Write:
    """A write into a counter, with the token arrays that the writing function held."""

    order: int
    site: Site | None
    table: int
    before: float
    reach: list[NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Score:
    """A printed line with both losses."""

    order: int
    label: str
    val_loss: float
    val_bpb: float
    decimals: int
    """Of the printed loss."""

    def repeats(self, other: "Score") -> bool:
        """Whether this line states the same score with at least as many digits."""
        same = abs(self.val_loss - other.val_loss) <= 10.0**-other.decimals
        return same and self.decimals >= other.decimals

    @property
    def is_step(self) -> bool:
        """A line of the training's own validation, not a stage of evaluation."""
        return self.label.startswith("step")


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A file that the run made and opened for reading."""

    order: int
    site: Site | None
    index: int
    name: str
    replaced: bool
    """Whether another run's file, of other content, was put in its place first."""


@dataclass(frozen=True, slots=True)
class Forked:
    """What a copy of the process charged at a position where a token was overwritten."""

    what: str
    """`vocabulary`; `early`, forked at the beginning of the stage; `together`, early and with all
    asked positions overwritten."""
    number: int
    """Which of the asked positions."""
    value: int
    nats: float | None
    """None when the copy did not get to the charge."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the copies at one of the asked positions took."""

    number: int
    distance: int
    """Events before the charge at which they began."""
    copies: int
    seconds: float
    processor_seconds: float


@dataclass(slots=True)
class Record:
    """Everything that one execution reported, in order."""

    looks: list[Look] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    learns: list[Learn] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    """Printed lines with both losses."""
    bpb_lines: list[ScoreLine] = field(default_factory=list)
    """Every printed line that states bits per byte, by the number of its event."""
    read_back: list[ReadBack] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    """Files of data that were opened."""
    forked: list[Forked] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """Environment variables that the submission asked for."""
    stand_ins: list[str] = field(default_factory=list)
    """What stood in for CUDA and its packages."""
    processor_seconds: float = 0.0
    """Of the script and the recorder."""


def read_record(lines: Iterable[bytes]) -> Record:
    """Decode events; CannotMeasure when a line is not one: submissions can write there too."""
    record = Record()
    events = in_order(lines)
    for number in itertools.count():
        try:
            event = next(events, None)
            if event is None:
                return record
            _add(record, event)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise CannotMeasure(
                f"event {number} of the recorder is damaged ({type(error).__name__}), so the "
                "record of the run cannot be trusted"
            ) from error
    raise AssertionError("unreachable: counting never ends")


def _add(record: Record, event: dict[str, object]) -> None:
    kind, order = event["kind"], int(str(event["order"]))
    site = _site(event.get("site"))
    if kind == "look":
        tokens = _array(event["tokens"]).astype(np.int32)
        record.looks.append(Look(order, site, list(tokens.reshape(-1, tokens.shape[-1]))))
    elif kind == "sum":
        record.values.append(Values(order, "sum", site, _array(event["nats"]).astype(np.float64)))
    elif kind == "loss" and event["learning"]:
        record.learns.append(Learn(order, site, _array(event["tokens"]).astype(np.int32)))
    elif kind == "loss":
        record.values.append(Values(order, "loss", site, _array(event["nats"]).astype(np.float64)))
    elif kind == "step":
        record.steps.append(Step(order, site))
    elif kind == "write":
        reach = event["reach"]
        assert isinstance(reach, list)
        arrays = [_array(item).astype(np.int32) for item in reach]
        record.writes.append(
            Write(order, site, int(str(event["table"])), float(str(event["before"])), arrays)
        )
    elif kind == "line":
        said = read_score(order, str(event["text"]))
        if said is not None:
            record.bpb_lines.append(said)
        found = SCORE.match(str(event["text"]))
        if found:
            loss, bpb = found["loss"], found["bpb"]
            decimals = len(loss.partition(".")[2])
            # The label as it is read in logs, so that the claimed one is found.
            label = said.label if said else found["label"]
            record.scores.append(Score(order, label, float(loss), float(bpb), decimals))
        elif said and said.val_loss is not None and said.label == "val_bpb":
            score = Score(order, said.label, said.val_loss, said.val_bpb, said.decimals)
            record.scores.append(score)
    elif kind == "artifact":
        index, replaced = int(str(event["index"])), bool(event["replaced"])
        record.read_back.append(ReadBack(order, site, index, str(event["name"]), replaced))
    elif kind == "opened":
        record.opened.add(str(event["name"]))
    elif kind == "forked":
        nats = None if event["nats"] is None else float(str(event["nats"]))
        number, value = int(str(event["number"])), int(str(event["value"]))
        record.forked.append(Forked(str(event["what"]), number, value, nats))
    elif kind == "served":
        counts = (int(str(event[name])) for name in ("number", "distance", "copies"))
        seconds = (float(str(event[name])) for name in ("seconds", "processor"))
        record.served.append(Served(*counts, *seconds))
    elif kind == "scaled":
        record.scaled.append(
            f"{event['file']}:{event['line']} table size {event['old']} -> {event['new']}"
        )
    elif kind == "environment":
        names = event["names"]
        assert isinstance(names, list)
        record.asked.update(map(str, names))
        stand_ins = event["stand_ins"]
        assert isinstance(stand_ins, list)
        record.stand_ins.extend(map(str, stand_ins))
        record.processor_seconds += float(str(event["processor"]))
    else:
        raise ValueError(f"unknown event {kind!r}")


def _site(value: object) -> Site | None:
    if value is None:
        return None
    assert isinstance(value, list)
    return str(value[0]), int(value[1]), str(value[2])


def _array(value: object) -> NDArray[np.generic]:
    """An array as the channel packs it; a huge one arrives without content and is empty here."""
    assert isinstance(value, dict)
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "iuf":
        raise ValueError(f"unexpected dtype {dtype}")
    if "data" not in value:
        return np.empty((0,), dtype)
    return np.frombuffer(base64.b64decode(value["data"]), dtype).reshape(value["shape"])
