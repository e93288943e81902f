import json
from pathlib import Path

import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl.errors import ArtifactError
from reference_impl.quantize.artifact import (
    ARTIFACT_NAME,
    MAGIC,
    MAX_ARTIFACT_BYTES,
    check_fit,
    code_bytes,
    pack,
    read_artifact,
    write_artifact,
)
from reference_impl.quantize.rowwise import Stored, quantize_state, restore_state


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "tok_embed.weight": torch.randn(40, 16, generator=generator),
        "blocks.0.mlp.output.weight": torch.randn(16, 64, generator=generator),
        "blocks.0.attn_scale": torch.randn(16, generator=generator),
        "scale": torch.tensor(0.05),
    }


def stored() -> dict[str, Stored]:
    return quantize_state(state(), fp16_max_numel=100)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / ARTIFACT_NAME
    write_artifact(path, pack(stored()), 0)
    return path


def test_tensors_are_stored_by_size_and_role() -> None:
    assert {name: value.kind for name, value in stored().items()} == {
        "tok_embed.weight": "int8",
        "blocks.0.mlp.output.weight": "int6",
        "blocks.0.attn_scale": "fp16",
        "scale": "fp16",
    }
    assert {value.kind for value in quantize_state(state(), 65_536).values()} == {"fp16"}


@examples(max_examples=30)
@given(spread=st.floats(1e-4, 1e3), seed=st.integers(0, 99))
def test_a_matrix_is_off_by_half_a_step_of_its_row(spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = spread * torch.randn(8, 300, generator=generator)
    for name, largest in (("x.embed.weight", 127), ("x.weight", 31)):
        value = quantize_state({name: weights}, 0)[name]
        assert int(value.values.abs().max()) <= largest
        assert value.scale is not None
        scale = value.scale.float()[:, None]
        within = weights.abs() <= largest * scale
        error = (value.restore() - weights).abs()
        assert (error <= 0.501 * scale)[within].all()
        assert within.float().mean() > 0.99


@pytest.mark.parametrize("outlier", [0.3, 0.4, 1.0])
def test_the_clip_with_the_least_error_is_kept(outlier: float) -> None:
    weights = 0.1 * torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    weights[:, 7] = outlier
    kept = quantize_state({"x.weight": weights}, 0)["x.weight"].restore()
    errors = []
    for quantile in (0.999, 0.9995, 0.9999, 0.99999, 1.0):
        scale = (torch.quantile(weights.abs(), quantile, dim=1) / 31).half().float()[:, None]
        clipped = (weights / scale).round().clamp(-31, 31) * scale
        errors.append(float((clipped - weights).square().mean()))
    assert float((kept - weights).square().mean()) == pytest.approx(min(errors))
    assert min(errors) < 0.99 * max(errors)


def test_a_row_of_zeros_stays_zero() -> None:
    value = quantize_state({"x.weight": torch.zeros(4, 50)}, 0)["x.weight"]
    assert value.restore().tolist() == torch.zeros(4, 50).tolist()


def test_a_model_file_reads_back_as_packed(artifact: Path) -> None:
    expected = restore_state(stored())
    restored = restore_state(read_artifact(artifact))
    assert restored.keys() == expected.keys()
    assert all(torch.equal(restored[name], expected[name]) for name in expected)


def test_packing_is_deterministic() -> None:
    assert pack(stored()) == pack(stored())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gone\.ptz cannot be read: No such file"):
        read_artifact(tmp_path / "gone.ptz")


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_truncated_file_is_refused(artifact: Path, kept: int) -> None:
    artifact.write_bytes(artifact.read_bytes()[:kept])
    message = f"{artifact} must be one whole zstd frame or zlib stream, got"
    with pytest.raises(ArtifactError, match=message):
        read_artifact(artifact)


@examples(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, change: int
) -> None:
    path = tmp_path_factory.mktemp("artifact") / ARTIFACT_NAME
    blob = bytearray(pack(stored()))
    blob[int(place * len(blob))] ^= change
    path.write_bytes(blob)
    try:
        read = restore_state(read_artifact(path))
    except ArtifactError:
        return
    # A bit of the frame's header that means nothing to the reader.
    expected = restore_state(stored())
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"PICKLE!!" + bytes(4), "must hold b'SPREF001' first, got b'PICKLE!!'"),
        (MAGIC + (9).to_bytes(4, "little") + b"not json!", "must have a readable header"),
        (MAGIC + (2).to_bytes(4, "little") + b"[]" + b"rest", "must hold 14 bytes.*got 18"),
        (MAGIC + (2).to_bytes(4, "little") + b"{}", "must have a readable header, got a dict of"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, body: bytes, message: str) -> None:
    path = tmp_path / ARTIFACT_NAME
    path.write_bytes(zstandard.compress(body))
    with pytest.raises(ArtifactError, match=message):
        read_artifact(path)


@pytest.mark.parametrize(
    "change",
    [{"shape": [-1, -8]}, {"shape": [10**9, 10**9]}, {"dtype": "object"}, {"dtype": None}],
)
def test_a_hostile_header_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    entry = {"name": "x", "kind": "fp16", "role": "values", "dtype": "int8", "shape": [4]} | change
    header = json.dumps([entry]).encode()
    path = tmp_path / ARTIFACT_NAME
    path.write_bytes(
        zstandard.compress(MAGIC + len(header).to_bytes(4, "little") + header + bytes(4))
    )
    with pytest.raises(ArtifactError, match="must h"):
        read_artifact(path)


def test_the_limit_holds_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / ARTIFACT_NAME
    with pytest.raises(ArtifactError, match="at most 16000000 bytes, got 16000001: 15999996 of"):
        write_artifact(path, b"model", MAX_ARTIFACT_BYTES - 4)
    assert list(tmp_path.iterdir()) == []
    assert write_artifact(path, b"model", MAX_ARTIFACT_BYTES - 5).total_bytes == 16_000_000
    assert path.read_bytes() == b"model"


def test_a_refused_write_leaves_the_old_file(artifact: Path) -> None:
    before = artifact.read_bytes()
    with pytest.raises(ArtifactError):
        write_artifact(artifact, b"model", MAX_ARTIFACT_BYTES)
    assert artifact.read_bytes() == before


def test_code_is_counted_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("é = 1\n")
    (tmp_path / "b.py").write_text("")
    assert code_bytes(sorted(tmp_path.glob("*.py"))) == 7


def test_weights_of_another_model_are_refused() -> None:
    path = Path("model.ptz")
    check_fit(path, state(), state())
    with pytest.raises(ArtifactError, match=r"scale expected no such tensor, got \(\)"):
        check_fit(path, state(), {n: v for n, v in state().items() if n != "scale"})
    with pytest.raises(ArtifactError, match=r"scale expected \(2,\), got \(\)"):
        check_fit(path, state(), state() | {"scale": torch.zeros(2)})
