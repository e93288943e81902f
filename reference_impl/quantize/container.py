"""How a model's bytes are compressed, and opened again without trust."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from reference_impl.errors import ArtifactError

try:
    import zstandard
except ImportError:  # the records' own scripts do without it too, and #924 had to
    HAS_ZSTD = False
else:
    HAS_ZSTD = True

MAX_MODEL_BYTES = 1 << 32  # no file may ask for more memory than this
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Container:
    """One compressor at one level."""

    method: str  # "zstd" or "zlib"
    level: int

    def compress(self, body: bytes) -> bytes:
        """Return the body compressed as one piece, with a checksum."""
        if self.method == "zlib":
            return zlib.compress(body, self.level)
        return zstandard.ZstdCompressor(level=self.level, write_checksum=True).compress(body)


ZLIB = Container("zlib", 9)


def usable(wanted: tuple[Container, ...]) -> tuple[Container, ...]:
    """Return the containers as wanted, or zlib alone where zstandard is not installed."""
    if not HAS_ZSTD and any(container.method == "zstd" for container in wanted):
        return (ZLIB,)
    return wanted


def decompress(path: Path, blob: bytes) -> bytes:
    """Return the body of a model file of either kind, or say what is wrong with it."""
    try:
        body = _zstd_body(path, blob) if blob.startswith(ZSTD_MAGIC) else _zlib_body(blob)
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} must be one whole zstd frame or zlib stream, got {len(blob)} bytes that "
            f"are not: {error}"
        ) from None
    if len(body) > MAX_MODEL_BYTES:
        raise _too_large(path, f"more than {MAX_MODEL_BYTES}")
    return body


def _zstd_body(path: Path, blob: bytes) -> bytes:
    if not HAS_ZSTD:
        raise ArtifactError(f"{path} must be read with the zstandard package, got none installed")
    try:
        size = zstandard.frame_content_size(blob)
        if not 0 <= size <= MAX_MODEL_BYTES:
            raise _too_large(path, str(size))
        return zstandard.ZstdDecompressor().decompress(blob, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _zlib_body(blob: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(blob, MAX_MODEL_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof and len(body) <= MAX_MODEL_BYTES:
        raise ValueError("the stream ends early")
    if stream.unused_data:
        raise ValueError(f"{len(stream.unused_data)} bytes follow the stream")
    return body


def _too_large(path: Path, size: str) -> ArtifactError:
    return ArtifactError(f"{path} must unpack to at most {MAX_MODEL_BYTES} bytes, got {size}")
