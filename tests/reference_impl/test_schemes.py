import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl.config import Settings
from reference_impl.errors import ArtifactError, SettingsError
from reference_impl.quantize.prune import prune_state
from reference_impl.quantize.rowwise import INT6_SEARCH, RowFormat, Stored, quantize_state
from reference_impl.quantize.schemes import INT5_SEARCH, SCHEMES

f32 = np.float32


def quantile(magnitudes: list[float], share: float) -> float:
    """Interpolate between the two nearest ranks."""
    ordered = sorted(magnitudes)
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


def slow_rows(weights: list[list[float]], form: RowFormat, share: float) -> Stored:
    """Round one weight after the other."""
    steps, scales = [], []
    for row in weights:
        clip = f32(quantile([abs(w) for w in row], share))
        scale = max(clip / f32(form.largest), f32(form.scale_floor))
        stored = max(np.float16(scale), np.finfo(np.float16).tiny)
        divisor = scale if form.divide_by_unrounded else f32(stored)
        line = []
        for w in row:
            kept = max(-clip, min(clip, f32(w))) if form.divide_by_unrounded else f32(w)
            step = int(np.round(kept / divisor))  # half to even, as torch rounds
            line.append(max(form.smallest, min(form.largest, step)))
        steps.append(line)
        scales.append(stored)
    return Stored(form.kind, torch.tensor(steps, dtype=torch.int8), torch.tensor(np.array(scales)))


def squared_error(stored: Stored, weights: list[list[float]]) -> float:
    error = 0.0
    for kept, row in zip(stored.restore().tolist(), weights, strict=True):
        error += sum((r - w) ** 2 for r, w in zip(kept, row, strict=True))
    return error


FORMS = [
    form
    for scheme in SCHEMES.values()
    for form in (scheme.matrices, scheme.embeddings, scheme.downgrade)
    if form is not None
]


@examples(max_examples=30, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    spread=st.sampled_from([0.003, 0.05, 0.4, 3.0]),
    outlier=st.sampled_from([0.0, 2.0, 20.0]),
    seed=st.integers(0, 999),
)
def test_rows_are_rounded_as_a_slow_loop_does(
    form: RowFormat, spread: float, outlier: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = spread * torch.randn(3, 60, generator=generator)
    weights[1, 7] += outlier * spread
    rows = weights.tolist()
    errors = []
    for share in form.clip_quantiles:
        got = replace(form, clip_quantiles=(share,)).quantize(weights)
        expected = slow_rows(rows, form, share)
        assert got.scale is not None
        assert expected.scale is not None
        torch.testing.assert_close(got.scale, expected.scale, rtol=1e-3, atol=1e-7)
        # An interpolated clip may differ in its last bit, and with it a weight between two steps.
        assert int((got.values.int() - expected.values.int()).abs().max()) <= 1
        assert float((got.values != expected.values).float().mean()) <= 0.02
        errors.append(squared_error(got, rows))
    assert squared_error(form.quantize(weights), rows) == pytest.approx(min(errors), rel=1e-5)


@pytest.mark.parametrize(
    ("scheme", "weights", "scale", "steps"),
    [
        # Below a largest weight of 1 the floor rules: steps of 1/31, whatever the row holds.
        ("pr940", [0.016, 0.017, -0.5], 0.03225708, [0, 1, -16]),
        ("pr940", [1.0, -3.1, 3.1], 0.1, [10, -31, 31]),
        ("pr779", [0.03, 0.034, -0.5], 0.06665039, [0, 1, -8]),
        ("pr924", [0.03, 0.034, -0.5], 0.06665039, [0, 1, -8]),
    ],
)
def test_published_matrices_have_a_floor_under_their_steps(
    scheme: str, weights: list[float], scale: float, steps: list[int]
) -> None:
    kept = SCHEMES[scheme].matrices.quantize(torch.tensor([weights]))
    assert kept.values.tolist() == [steps]
    assert kept.scale is not None
    assert kept.scale.item() == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize(
    ("scheme", "smallest", "largest"),
    [("pr779", -15, 15), ("pr834", -15, 15), ("pr924", -15, 15), ("pr940", -32, 31)],
)
def test_the_range_is_the_record_s(scheme: str, smallest: int, largest: int) -> None:
    form = SCHEMES[scheme].matrices
    far = torch.tensor([[-1e6, 1e6]])
    assert form.steps(far, torch.ones(1)).tolist() == [[smallest, largest]]


@pytest.mark.parametrize("precision", ["matrices", "downgrade"])
def test_940_clips_nothing(precision: str) -> None:
    """A search would clip the one large weight for the sake of the 1,999 others."""
    row = 0.5 * torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    row[0, 3] = 4.0
    kept = getattr(SCHEMES["pr940"], precision).quantize(row)
    assert float(kept.restore()[0, 3]) == pytest.approx(4.0, rel=1e-3)
    assert float(INT5_SEARCH.quantize(row).restore()[0, 3]) < 3.5


def test_5_bits_of_940_reach_one_step_further_down() -> None:
    form = SCHEMES["pr940"].downgrade
    assert form is not None
    assert form.steps(torch.tensor([[-1e6, 1e6]]), torch.ones(1)).tolist() == [[-16, 15]]
    assert form.scale_floor == 1 / 15


def test_published_embeddings_clip_between_their_two_largest_weights() -> None:
    row = torch.linspace(-2.0, 2.0, 1001)
    row[500] = 40.0
    kept = SCHEMES["pr779"].embeddings.quantize(row[None])
    assert kept.scale is not None
    clip = 2.0 + (1 - 0.0000016 * 1000) * 38.0
    assert kept.scale.item() == pytest.approx(clip / 127, rel=1e-3)
    assert int(kept.values.max()) == 127


def test_published_embeddings_clip_before_the_floor_can_hide_it() -> None:
    row = torch.zeros(1, 100_000)
    row[0, 5] = 0.9
    clip = 0.9 * (0.9999984 * 99_999 - 99_998)  # between the largest and the next, here 0
    assert int(SCHEMES["pr779"].embeddings.quantize(row).values[0, 5]) == round(clip * 127) == 96


def test_published_embeddings_divide_before_the_scale_is_rounded() -> None:
    scale = 1 + 0.49 / 1024  # 16 bits make it 1
    row = scale * torch.tensor([[127.0, 127.0, 100.49]])
    published = SCHEMES["pr779"].embeddings
    assert published.quantize(row).values.tolist() == [[127, 127, 100]]
    by_stored = replace(published, divide_by_unrounded=False)
    assert by_stored.quantize(row).values.tolist() == [[127, 127, 101]]


def test_each_record_prunes_and_compresses_as_it_did() -> None:
    containers = {
        name: [(container.method, container.level) for container in scheme.containers]
        for name, scheme in SCHEMES.items()
    }
    assert containers["pr779"] == containers["pr834"] == [("zstd", 22)]
    assert containers["pr924"] == [("zlib", 9)]
    assert containers["pr940"] == [("zstd", 16), ("zstd", 1), ("zstd", 17), ("zstd", 2)]
    assert [SCHEMES[f"pr{n}"].prune_fraction for n in (779, 834, 924, 940)] == [0.08, 0.08, 0.03, 0]


def test_the_payload_is_the_published_one() -> None:
    """Bytes before compression of #779: 5-bit values, 8-bit values, row scales, 16-bit floats."""
    square, wide, tall = (512, 512), (1792, 512), (512, 1792)
    shapes: dict[str, tuple[int, ...]] = {
        "tok_embed.weight": (1024, 512),
        "bigram.embed.weight": (6144, 128),
        "value_embed.embed.weight": (1024, 128),
        "bigram.proj.weight": (512, 128),
        "value_embed.proj.weight": (512, 128),
        "skip_weights": (5, 512),
        "smear.gate": (512,),
        "scalars": (4,),
    }
    for layer in range(11):
        matrices = {"q": square, "k": square, "v": square, "o": square, "up": wide, "down": tall}
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in matrices.items()}
        vectors = {"q_gain": (8,), "attn": (512,), "mlp": (512,), "resid_mix": (2, 512)}
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in vectors.items()}
    scheme = SCHEMES["pr779"]
    quick = RowFormat(kind="int5", largest=15, smallest=-15, clip_quantiles=(1.0,))
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    stored = quantize_state(state, 65_536, quick, scheme.embeddings)
    values = {
        kind: sum(s.values.numel() * s.values.itemsize for s in stored.values() if s.kind == kind)
        for kind in ("int5", "int8", "fp16")
    }
    scales = sum(2 * len(s.scale) for s in stored.values() if s.scale is not None)
    assert values == {"int5": 31_719_424, "int8": 1_441_792, "fp16": 313_528}
    assert scales == 112_128


@examples(max_examples=40)
@given(seed=st.integers(0, 999), fraction=st.sampled_from([0.03, 0.08, 0.5]))
def test_pruning_zeroes_the_smallest_and_leaves_the_rest(seed: int, fraction: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(20, 30, generator=generator)
    pruned = prune_state({"x.embed.weight": weights, "small": weights}, fraction, 599)
    kept = pruned["x.embed.weight"]
    gone = kept == 0
    assert int(gone.sum()) == math.ceil(fraction * 599)  # below the quantile's rank
    assert torch.equal(kept[~gone], weights[~gone])
    assert weights[gone].abs().max() < weights[~gone].abs().min()
    assert torch.equal(prune_state({"x": weights}, fraction, 600)["x"], weights)


def test_pruning_keeps_equal_weights() -> None:
    weights = torch.full((4, 9), -0.5)
    assert torch.equal(prune_state({"x": weights}, 0.08, 0)["x"], weights)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_a_scheme_describes_itself_in_plain_values(name: str) -> None:
    described = SCHEMES[name].describe()
    assert described["name"] == name
    assert described["gptq"] is ("gptq" in name)
    matrices = described["matrices"]
    assert isinstance(matrices, dict)
    form = SCHEMES[name].matrices
    assert matrices["steps"] == [form.smallest, form.largest]
    assert matrices["kind"] == ("int6" if "6" in name or name == "pr940" else "int5")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"QUANTIZATION must be one of int6, .*got 'int7'"):
        Settings(quantization="int7")


@pytest.mark.parametrize("weights", [torch.full((2, 9), 1e8), torch.full((2, 9), float("nan"))])
@pytest.mark.parametrize("fp16_max_numel", [0, 100])
def test_weights_that_no_reader_would_get_back_are_refused(
    weights: torch.Tensor, fp16_max_numel: int
) -> None:
    with pytest.raises(ArtifactError, match=r"x must hold weights .* up to 65504, got a largest"):
        quantize_state({"x": weights}, fp16_max_numel)


def test_6_bits_are_nearer_than_5() -> None:
    weights = torch.randn(4, 300, generator=torch.Generator().manual_seed(1))
    errors = [
        float((form.quantize(weights).restore() - weights).square().mean())
        for form in (INT5_SEARCH, INT6_SEARCH)
    ]
    assert errors[1] < 0.4 * errors[0]
