import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.errors import ArtifactError
from reference_impl.quantize import container as containers
from reference_impl.quantize.artifact import (
    MAX_ARTIFACT_BYTES,
    body,
    pack,
    read_artifact,
    write_artifact,
)
from reference_impl.quantize.container import ZLIB, Container, usable
from reference_impl.quantize.ladder import from_the_centre
from reference_impl.quantize.packing import export_model
from reference_impl.quantize.rowwise import Stored, quantize_state, restore_state
from reference_impl.quantize.schemes import SCHEMES
from reference_impl.runlog import RunLog

LAYERS = 11


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    names = ["tok_embed.weight", *(f"blocks.{layer}.mlp.weight" for layer in range(LAYERS))]
    return {name: torch.randn(16, 64, generator=generator) for name in names} | {
        "bigram.scale": torch.tensor(0.05)
    }


def settings(scheme: str) -> Settings:
    return Settings(quantization=scheme, fp16_max_numel=100)


def attempt(int5_layers: set[int], level: int) -> int:
    """Return the size of one attempt, made from scratch."""
    scheme = SCHEMES["pr940"]
    assert scheme.downgrade is not None
    stored: dict[str, Stored] = {}
    for name, value in weights().items():
        coarse = name.startswith("blocks.") and int(name.split(".")[1]) in int5_layers
        form = scheme.downgrade if coarse else scheme.matrices
        stored |= quantize_state({name: value}, 100, form, scheme.embeddings)
    return len(pack(stored, Container("zstd", level)))


def export(scheme: str, code_bytes: int) -> tuple[bytes, list[str]]:
    log = RunLog()
    blob = export_model(weights(), settings(scheme), code_bytes, log)
    return blob, log.lines


def kinds(path: Path, blob: bytes) -> list[str]:
    path.write_bytes(blob)
    stored = read_artifact(path)
    return [stored[f"blocks.{layer}.mlp.weight"].kind for layer in range(LAYERS)]


def test_layers_go_from_the_centre_outwards() -> None:
    assert from_the_centre(11) == [5, 6, 4, 7, 3, 8, 2, 9, 1, 10, 0]


@given(st.integers(0, 40))
def test_the_order_is_that_of_a_walk_from_the_middle(layers: int) -> None:
    walk: list[int] = []
    for distance in range(layers + 1):
        for layer in (layers // 2 + distance, layers // 2 - distance):
            if 0 <= layer < layers and layer not in walk:
                walk.append(layer)
    assert from_the_centre(layers) == walk


def test_6_bits_stay_where_they_fit(tmp_path: Path) -> None:
    blob, lines = export("pr940", 1000)
    assert kinds(tmp_path / "model", blob) == ["int6"] * LAYERS
    size, limit = attempt(set(), 16), MAX_ARTIFACT_BYTES - 1000
    assert lines[1:] == [
        "Code size: 1000 bytes",
        f"quant_try int6 zstd-16: {size} bytes (limit {limit})",
        f"Serialized model quant+zstd-16: {size} bytes",
        f"Total submission size: {size + 1000} bytes",
    ]


@pytest.mark.parametrize("rungs", [1, 2, 11])
def test_layers_go_down_until_the_model_fits_and_no_further(tmp_path: Path, rungs: int) -> None:
    order = [5, 6, 4, 7, 3, 8, 2, 9, 1, 10, 0]
    sizes = [[attempt(set(order[:n]), level) for level in (16, 1, 17, 2)] for n in range(rungs + 1)]
    limit = min(sizes[rungs])
    assert limit < min(min(tried) for tried in sizes[:rungs])
    blob, lines = export("pr940", MAX_ARTIFACT_BYTES - limit)
    assert len(blob) == limit
    assert kinds(tmp_path / "model", blob) == [
        "int5" if layer in order[:rungs] else "int6" for layer in range(LAYERS)
    ]

    expected = []
    for rung, tried in enumerate(sizes):
        label = f"int5[{rung}L]" if rung else "int6"
        if rung:
            expected.append(f"quant_fallback: int5 layers={sorted(order[:rung])}")
        for level, size in zip((16, 1, 17, 2), tried, strict=True):
            expected.append(f"quant_try {label} zstd-{level}: {size} bytes (limit {limit})")
            if size <= limit:
                expected.append(f"Serialized model quant+zstd-{level}: {size} bytes")
                break
    assert lines[2:-1] == expected
    published = re.compile(
        r"quant_try (int6|int5\[\d+L\]) zstd-(\d+): (\d+) bytes \(limit (\d+)\)"
        r"|quant_fallback: int5 layers=\[([\d, ]+)\]"
        r"|Serialized model (\S+\+(?:zstd|zlib)(?:-\d+)?): (\d+) bytes"
    )
    assert all(published.fullmatch(line) for line in lines[2:-1])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_levels_are_tried_in_order(level: int) -> None:
    sizes = [attempt(set(), number) for number in (16, 1, 17, 2)]
    first = next(place for place, size in enumerate(sizes) if size <= sizes[level])
    blob, lines = export("pr940", MAX_ARTIFACT_BYTES - sizes[level])
    assert len(blob) == sizes[first]
    assert sum(line.startswith("quant_try") for line in lines) == first + 1


def test_a_model_that_never_fits_is_refused_with_both_numbers() -> None:
    least = min(attempt(set(range(LAYERS)), level) for level in (16, 1, 17, 2))
    message = f"at most {least - 1} bytes, .* got at least {least} in 48 attempts"
    with pytest.raises(ArtifactError, match=message):
        export("pr940", MAX_ARTIFACT_BYTES - least + 1)


def test_a_model_over_the_limit_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="at most 16000000 bytes, got 16000001: 1 of code"):
        write_artifact(tmp_path / "model", bytes(MAX_ARTIFACT_BYTES), 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["int6", "pr779", "pr834", "pr924"])
def test_a_scheme_without_a_ladder_fits_or_is_refused(scheme: str) -> None:
    blob, lines = export(scheme, 7)
    method = "zlib" if scheme == "pr924" else "zstd"
    assert f"Serialized model int6+{method}: {len(blob)} bytes" in lines
    assert f"Total submission size int6+{method}: {len(blob) + 7} bytes" in lines
    assert not any(line.startswith("quant_") for line in lines)
    assert export(scheme, MAX_ARTIFACT_BYTES - len(blob))[0] == blob
    over = MAX_ARTIFACT_BYTES - len(blob) + 1
    with pytest.raises(ArtifactError, match=f"at most {len(blob) - 1} .* at least {len(blob)} in"):
        export(scheme, over)


@pytest.mark.parametrize(("scheme", "share"), [("pr779", 0.08), ("pr924", 0.03)])
def test_pruning_comes_before_rounding_and_is_logged(scheme: str, share: float) -> None:
    _, lines = export(scheme, 0)
    assert f"pruning:{100 * share:.1f}% magnitude pruning applied" in lines


def test_export_counts_the_weights_as_they_were() -> None:
    numbers = (LAYERS + 1) * 16 * 64 + 1
    assert export("int6", 0)[1][0] == f"Serialized model: {4 * numbers} bytes"


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if not SCHEMES[name].gptq])
def test_each_scheme_reads_back_near_its_weights(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(export(scheme, 0)[0])
    restored = restore_state(read_artifact(path))
    for name, value in weights().items():
        error = (restored[name] - value).abs()
        assert float(error.mean()) < 0.1
        assert float(error.max()) < 0.6


def test_zlib_stands_in_where_zstandard_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "HAS_ZSTD", False)
    assert usable(SCHEMES["pr940"].containers) == (ZLIB,)
    blob, lines = export("int6", 0)
    assert f"Serialized model int6+zlib: {len(blob)} bytes" in lines
    path = tmp_path / "model"
    path.write_bytes(blob)
    assert restore_state(read_artifact(path)).keys() == weights().keys()
    path.write_bytes(containers.ZSTD_MAGIC + b"rest")
    with pytest.raises(ArtifactError, match="must be read with the zstandard package, got none"):
        read_artifact(path)


def stored_body() -> bytes:
    return body(quantize_state(weights(), 100))


@pytest.mark.parametrize("container", [ZLIB, Container("zstd", 1)])
@pytest.mark.parametrize("kept", [0, 1, 3, 500, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, container: Container, kept: int) -> None:
    path = tmp_path / "model"
    path.write_bytes(container.compress(stored_body())[:kept])
    with pytest.raises(ArtifactError, match=f"{path} must be one whole zstd frame or zlib stream"):
        read_artifact(path)


@pytest.mark.parametrize("container", [ZLIB, Container("zstd", 1)])
def test_bytes_after_the_model_are_refused(tmp_path: Path, container: Container) -> None:
    path = tmp_path / "model"
    path.write_bytes(container.compress(stored_body()) + b"tables")
    with pytest.raises(ArtifactError, match="must be one whole zstd frame or zlib stream"):
        read_artifact(path)


@examples(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_changed_byte_of_a_zlib_file_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, change: int
) -> None:
    path = tmp_path_factory.mktemp("artifact") / "model"
    blob = bytearray(ZLIB.compress(stored_body()))
    blob[int(place * len(blob))] ^= change
    path.write_bytes(blob)
    with pytest.raises(ArtifactError):
        read_artifact(path)


@pytest.mark.parametrize("container", [ZLIB, Container("zstd", 1)])
def test_a_file_that_unpacks_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: Container
) -> None:
    monkeypatch.setattr(containers, "MAX_MODEL_BYTES", 1000)
    path = tmp_path / "model"
    path.write_bytes(container.compress(bytes(1001)))
    with pytest.raises(ArtifactError, match="must unpack to at most 1000 bytes, got"):
        read_artifact(path)
