import json

import numpy as np
import pytest

from auditor.errors import CannotMeasure
from auditor.run.record import read_record
from auditor.run.recorder.channel import packed


def line(**event: object) -> bytes:
    return json.dumps(event).encode()


def test_arrays_come_back_as_they_were_sent():
    tokens = np.array([[1, 2], [3, 4]], dtype=np.int32)
    record = read_record([line(kind="look", order=3, site=["a.py", 1, "f"], tokens=packed(tokens))])
    assert [row.tolist() for row in record.looks[0].rows] == [[1, 2], [3, 4]]
    assert record.looks[0].site == ("a.py", 1, "f")


@pytest.mark.parametrize(
    ("text", "label", "loss"),
    [
        ("final_ttt_exact val_loss:1.12504361 val_bpb:0.66631420", "final_ttt_exact", 1.12504361),
        ("step:10/20 val_loss:2.5 val_bpb:1.2 train_time:3ms", "step", 2.5),
        ("ttt:done val_loss=1.125044 val_bpb=0.666314 elapsed=370.9s", "ttt", 1.125044),
    ],
)
def test_score_lines_are_read(text, label, loss):
    (score,) = read_record([line(kind="line", order=1, text=text)]).scores
    assert score.label.startswith(label)
    assert score.val_loss == loss


def test_a_line_that_states_no_score_is_no_score():
    assert read_record([line(kind="line", order=1, text="val_bpb:enabled x=1")]).scores == []


@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b"[]\n",
        b'{"kind": "look", "order": 1}\n',
        b'{"kind": "invented", "order": 1}\n',
        b'{"kind": "look", "order": 1, "tokens": {"dtype": "O", "shape": [1], "data": ""}}\n',
        b'{"kind": "look", "order": 1, "tokens": {"dtype": "<i4", "shape": [9], "data": "AAAA"}}\n',
    ],
)
def test_a_forged_or_cut_event_ends_the_record_as_evidence(bad):
    with pytest.raises(CannotMeasure, match="event 0 of the recorder is damaged"):
        read_record([bad])
