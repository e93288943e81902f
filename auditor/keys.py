"""Ed25519 keys as PEM text: drawn, written, read back."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auditor.errors import ToolError

KEY_VARIABLE = "STRICT_PREFIX_KEY"
"""Environment variable with a private key as PEM text, where no key file is named."""
MAX_KEY_BYTES = 10_000


def write_new_key(path: Path, public_path: Path) -> None:
    """Draw a key and write both halves; ToolError, and neither file, where one is there already."""
    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(public_path, public_pem, 0o644)
    try:
        _write_new(path, private_pem, 0o600)
    except ToolError:
        public_path.unlink()
        raise


def _write_new(path: Path, pem: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
        except OSError:
            path.unlink()
            raise
    except OSError as error:
        raise ToolError(f"{path}: cannot be written ({error.strerror})") from error


def private_key(path: Path | None) -> Ed25519PrivateKey | None:
    """Return the key of a file, else of the environment, else None; ToolError for no such key."""
    if path is None:
        text = os.environ.get(KEY_VARIABLE)
        if not text:
            return None
        where, pem = KEY_VARIABLE, text.encode()
    else:
        where, pem = str(path), _read(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ToolError(f"{where}: expected an Ed25519 private key in PEM without password") from (
            error
        )
    if not isinstance(key, Ed25519PrivateKey):
        raise ToolError(f"{where}: expected an Ed25519 private key, found another kind")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key of a file; ToolError for what is none."""
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ToolError(f"{path}: expected an Ed25519 public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ToolError(f"{path}: expected an Ed25519 public key, found another kind")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror})") from error
