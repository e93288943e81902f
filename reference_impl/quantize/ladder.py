"""The first model file that fits: one precision after the other, one compression after the other.

#940 stores all layers in 6 bits if that fits and otherwise goes over to 5 bits a layer at a time,
from the centre outwards. A scheme without a downgrade has one precision to try.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from reference_impl.errors import ArtifactError
from reference_impl.quantize.artifact import body
from reference_impl.quantize.container import Container, usable
from reference_impl.quantize.rowwise import RowFormat, Stored
from reference_impl.quantize.schemes import Scheme
from reference_impl.runlog import RunLog

StateOf = Callable[[RowFormat, Mapping[str, Tensor]], dict[str, Stored]]


@dataclass(frozen=True, slots=True)
class Packed:
    """A compressed model and what compressed it."""

    blob: bytes
    container: Container


def first_fit(
    weights: Mapping[str, Tensor],
    scheme: Scheme,
    state_of: StateOf,
    limit_bytes: int,
    log: RunLog,
) -> Packed:
    """Return the first attempt within the limit, or refuse.

    The published scripts do not look at the limit, or ship the last attempt whatever its size.
    """
    sizes = []
    for label, stored in _rungs(weights, scheme, state_of, log):
        raw = body(stored)
        for container in usable(scheme.containers):
            packed = Packed(container.compress(raw), container)
            sizes.append(len(packed.blob))
            if scheme.downgrade:
                log(
                    f"quant_try {label} {container.method}-{container.level}: {sizes[-1]} bytes "
                    f"(limit {limit_bytes})"
                )
            if sizes[-1] <= limit_bytes:
                return packed
    raise ArtifactError(
        f"the model must be at most {limit_bytes} bytes, what the code leaves of the limit, "
        f"got at least {min(sizes)} in {len(sizes)} attempts"
    )


def _rungs(
    weights: Mapping[str, Tensor], scheme: Scheme, state_of: StateOf, log: RunLog
) -> Iterator[tuple[str, dict[str, Stored]]]:
    stored = state_of(scheme.matrices, weights)
    yield scheme.matrices.kind, stored
    if scheme.downgrade is None:
        return
    order = from_the_centre(1 + max((_layer(name) for name in weights), default=-1))
    for count, layer in enumerate(order, start=1):
        log(f"quant_fallback: {scheme.downgrade.kind} layers={sorted(order[:count])}")
        members = {name: value for name, value in weights.items() if _layer(name) == layer}
        stored = stored | state_of(scheme.downgrade, members)
        yield f"{scheme.downgrade.kind}[{count}L]", stored


def from_the_centre(layers: int) -> list[int]:
    """Return the layers by distance from the middle one, the upper of two neighbours first."""
    return sorted(range(layers), key=lambda layer: (abs(layer - layers // 2), -layer))


def _layer(name: str) -> int:
    """Return the number of the block that a tensor belongs to, -1 for none."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" else -1
