import json
from collections import Counter
from typing import Any

import pytest
import torch

from reference_impl.__main__ import main
from reference_impl.config import Settings
from reference_impl.describe import describe, stored_kind, tensor_shapes
from reference_impl.model.gpt import GPT
from reference_impl.presets import RECORDS, preset
from reference_impl.quantize.rowwise import quantize_state
from reference_impl.quantize.schemes import SCHEMES


def described(settings: Settings) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(describe(settings)))
    return copy


@pytest.mark.parametrize(
    ("name", "tables", "table_bytes"),
    [
        ("pr779", 12, 201_326_592),
        ("pr834", 12, 50_331_648),
        ("pr940", 12, 201_326_592),
        ("pr924", 30, 503_316_480),
    ],
)
def test_the_tables_take_the_published_bytes(name: str, tables: int, table_bytes: int) -> None:
    ngram = described(RECORDS[name])["ngram_tables"]
    assert (ngram["tables"], ngram["bytes"]) == (tables, table_bytes)


def test_the_779_tensors_are_stored_as_its_inventory_says() -> None:
    full = described(RECORDS["pr779"])
    values: Counter[str] = Counter()
    for tensor in full["tensors"].values():
        values[tensor["stored"]] += torch.Size(tensor["shape"]).numel()
    assert values == {"int5": 31_719_424, "int8": 1_441_792, "fp16": 313_528 // 2}
    stored = 31_719_424 + 1_441_792 + 313_528 + 112_128
    assert full["artifact"]["model_bytes_before_compression"] == stored
    assert full["parameters"]["total"] == sum(values.values()) == 33_317_980


def test_parameters_are_grouped_by_component() -> None:
    groups = described(RECORDS["pr940"])["parameters"]["groups"]
    assert groups == {
        "skip_weights": 2560,
        "tok_embed": 524_288,
        "bigram": 524_288 + 65_536 + 1,
        "smear": 512,
        "attention": 11 * (2 * 262_144 + 2 * 131_072 + 8 + 2 + 4104),
        "mlp": 11 * 2 * 786_432,
        "block_scales": 11 * 2048,
    }
    gated = described(RECORDS["pr924"])["parameters"]["groups"]
    assert (gated["expert_gate"], gated["value_embedding"]) == (8208, 131_072 + 65_536 + 3)


@pytest.mark.parametrize(
    ("name", "logged_bytes"),
    [("pr779", 15_537_467), ("pr834", 15_489_026), ("pr940", 15_936_188)],  # means; int6 of 1337
)
def test_the_estimate_is_near_the_logged_bytes(name: str, logged_bytes: int) -> None:
    estimate = described(RECORDS[name])["artifact"]["model_bytes_estimate"]
    assert estimate == pytest.approx(logged_bytes, rel=0.02)


@pytest.mark.parametrize("name", RECORDS)
def test_tensors_are_stored_as_described(name: str) -> None:
    small = preset(name, "tiny")
    scheme = SCHEMES[small.quantization]
    stored = quantize_state(
        GPT(small).state_dict(), small.fp16_max_numel, scheme.matrices, scheme.embeddings
    )
    shapes = tensor_shapes(small)
    assert {key: tuple(tensor.values.shape) for key, tensor in stored.items()} == shapes
    assert {key: tensor.kind for key, tensor in stored.items()} == {
        key: stored_kind(key, shape, small) for key, shape in shapes.items()
    }
    held = sum(
        part.numel() * part.element_size()
        for tensor in stored.values()
        for part in (tensor.values, tensor.scale)
        if part is not None
    )
    assert described(small)["artifact"]["model_bytes_before_compression"] == held


def test_schedule_and_scheme_are_those_of_the_record() -> None:
    full = described(RECORDS["pr940"])
    assert full["schedule"]["warmdown_iters"] == 3000
    assert full["quantization"]["name"] == "pr940"
    assert full["rotary_base"] == pytest.approx(22_081.79, abs=0.005)


@pytest.mark.parametrize(("size", "parameters"), [("full", 33_326_188), ("tiny", 666_020)])
def test_the_command_prints_it_and_writes_nothing(
    size: str, parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", "--preset", "pr924", "--size", size]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["parameters"]["total"] == parameters
    assert printed == described(preset("pr924", size))


def test_the_environment_changes_what_is_described(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGRAM_BUCKETS", "1024")
    assert main(["describe", "--preset", "pr779"]) == 0
    assert json.loads(capsys.readouterr().out)["ngram_tables"]["bytes"] == 12 * 1024 * 4
