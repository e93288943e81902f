"""Bytes beside the tokens: offered to who names them, and a mark of what is charged."""

import json
import os

import numpy as np
import pytest
import torch

from auditor.run.recorder.channel import Channel, unpacked
from auditor.run.recorder.side_car import NAME, SideCar
from auditor.run.recorder.watch import Watch
from auditor.run.streams import uniform
from auditor.run.workspace import BYTES_SHARD, write_shard

STREAM = uniform(384, 3_000, "side car")
BYTES = STREAM.vocabulary.token_bytes(STREAM.tokens)
SOURCE = 'files = glob("fineweb_val_bytes_*.bin")'


@pytest.fixture
def side_car(tmp_path):
    for name in ("offered", "data"):
        (tmp_path / name).mkdir()
    write_shard(tmp_path / "offered" / BYTES_SHARD, BYTES.astype(np.uint16))
    return SideCar(str(tmp_path / "offered"), str(tmp_path / "data"), STREAM.tokens)


def test_who_does_not_name_it_does_not_find_it(side_car, tmp_path):
    assert NAME == BYTES_SHARD
    side_car.offer('files = glob("fineweb_val_*.bin")')
    assert not list((tmp_path / "data").iterdir())
    side_car.offer(SOURCE.encode())
    side_car.offer(SOURCE)
    (found,) = (tmp_path / "data").glob("fineweb_val_bytes_*.bin")
    assert (np.fromfile(found, dtype="<u2", offset=1024) == BYTES).all()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32])
def test_what_is_looked_up_in_it_are_the_tokens_that_are_charged(side_car, dtype):
    side_car.offer(SOURCE)
    table = torch.from_numpy(BYTES[:2_950].astype(np.int32)).to(dtype)
    assert (side_car.tokens(table, slice(5, 70)) == STREAM.tokens[5:70]).all()
    places = torch.tensor([[7, 8], [100, 101]])
    assert (side_car.tokens(table, places) == STREAM.tokens[places.numpy()]).all()


def test_another_table_is_none(side_car):
    table = torch.from_numpy(BYTES)
    assert side_car.tokens(table, slice(0, 9)) is None  # nobody has named it
    side_car.offer(SOURCE)
    assert side_car.tokens(table + 1, slice(0, 9)) is None
    assert side_car.tokens(table[:100], slice(0, 9)) is None


def test_a_look_up_by_slice_is_reported(side_car, tmp_path):
    side_car.offer(SOURCE)
    table = torch.from_numpy(BYTES)
    sent = tmp_path / "events"
    with sent.open("wb") as file:
        channel = Channel(os.dup(file.fileno()), os.path.dirname(__file__))
    with Watch(channel, 384, side_car):
        table[10:20].sum()
        table.clone()[torch.arange(30, 35)]
        (table + 1)[40:50]
    channel._pipe.close()
    events = [json.loads(line) for line in sent.read_text().splitlines()]
    looks = [unpacked(event["tokens"]) for event in events if event["kind"] == "look"]
    assert [list(look) for look in looks] == [
        list(STREAM.tokens[10:20]),
        list(STREAM.tokens[30:35]),
    ]
