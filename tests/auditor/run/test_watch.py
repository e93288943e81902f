"""Which look-ups in a byte table are seen."""

import json
import os
from pathlib import Path

import pytest
import torch

from auditor.run.recorder.channel import Channel, unpacked
from auditor.run.recorder.watch import Watch

TABLE = torch.arange(384, dtype=torch.int16) % 9


@pytest.mark.parametrize(
    ("table", "index", "seen"),
    [
        (TABLE, torch.tensor([7, 9]), [7, 9]),
        (TABLE, 7, [7]),  # a loop over tokens
        (TABLE, -1, [383]),
        (TABLE, True, None),
        (TABLE, slice(3, 9), None),
        (TABLE.float(), 7, None),
        (TABLE[:100], 7, None),
        (TABLE[None], 0, None),
        (torch.arange(1024) % 384, 7, None),  # a stretch of the stream
    ],
)
def test_tokens_that_are_looked_up_are_reported(
    tmp_path: Path, table: torch.Tensor, index: object, seen: list[int] | None
) -> None:
    sent = tmp_path / "events"
    with sent.open("wb") as file:
        channel = Channel(os.dup(file.fileno()), os.path.dirname(__file__))
    with Watch(channel, 384):
        table[index]  # type: ignore[index]  # whatever a script may write
    channel._pipe.close()
    looks = [json.loads(line) for line in sent.read_text().splitlines()]
    found = [unpacked(look["tokens"]).tolist() for look in looks if look["kind"] == "look"]
    assert found == ([] if seen is None else [seen])
