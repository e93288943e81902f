"""The ways in which the records store their weights; the setting QUANTIZATION names one."""

from dataclasses import asdict, dataclass, replace

from reference_impl.quantize.container import ZLIB, Container
from reference_impl.quantize.rowwise import CLIP_QUANTILES, INT6_SEARCH, INT8_SEARCH, RowFormat

MAX_ONLY = (1.0,)
INT5_SEARCH = RowFormat(kind="int5", largest=15, smallest=-15, clip_quantiles=CLIP_QUANTILES)
INT8_PUBLISHED = RowFormat(
    kind="int8",
    largest=127,
    smallest=-127,
    clip_quantiles=(0.9999984,),
    scale_floor=1 / 127,
    divide_by_unrounded=True,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """What becomes of the averaged weights between training and the model file."""

    name: str
    matrices: RowFormat
    embeddings: RowFormat
    containers: tuple[Container, ...]  # the first that fits is shipped
    # What the layers are stored in, one after the other from the centre, while nothing fits.
    downgrade: RowFormat | None = None
    prune_fraction: float = 0.0  # of each large tensor, the smallest weights, set to zero
    gptq: bool = False  # rounding errors are made up for in the columns that follow

    def describe(self) -> dict[str, object]:
        """Return the scheme as plain values."""
        return {
            "name": self.name,
            "matrices": self.matrices.describe(),
            "embeddings": self.embeddings.describe(),
            "downgrade": self.downgrade.describe() if self.downgrade else None,
            "prune_fraction": self.prune_fraction,
            "gptq": self.gptq,
            "containers": [asdict(container) for container in self.containers],
        }


INT6 = Scheme(
    name="int6",
    matrices=INT6_SEARCH,
    embeddings=INT8_SEARCH,
    containers=(Container("zstd", 22),),
)
# All four scripts call their files and log lines int6: #779, #834 and #924 store int5. The floor
# makes the step 1/15 wherever a row's clip is below 1, which at these sizes is nearly everywhere.
PR779 = Scheme(
    name="pr779",
    matrices=replace(INT5_SEARCH, scale_floor=1 / 15),
    embeddings=INT8_PUBLISHED,
    containers=(Container("zstd", 22),),
    prune_fraction=0.08,
)
PR834 = replace(PR779, name="pr834")
# Its script prefers zstd, but zstandard was missing where its three runs were made.
PR924 = replace(PR779, name="pr924", prune_fraction=0.03, containers=(ZLIB,))
PR940 = Scheme(
    name="pr940",
    matrices=RowFormat(
        kind="int6", largest=31, smallest=-32, clip_quantiles=MAX_ONLY, scale_floor=1 / 31
    ),
    embeddings=INT8_PUBLISHED,
    containers=tuple(Container("zstd", level) for level in (16, 1, 17, 2)),
    downgrade=RowFormat(
        kind="int5", largest=15, smallest=-16, clip_quantiles=MAX_ONLY, scale_floor=1 / 15
    ),
)
INT5_GPTQ = replace(INT6, name="int5_gptq", matrices=INT5_SEARCH, gptq=True)
INT6_GPTQ = replace(INT6, name="int6_gptq", gptq=True)

SCHEMES = {
    scheme.name: scheme for scheme in (INT6, INT5_GPTQ, INT6_GPTQ, PR779, PR834, PR924, PR940)
}
