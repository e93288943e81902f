"""Archives made in memory: a small record folder, and everything that is wrong with others."""

import gzip
import io
import stat
import tarfile
import zipfile

import zstandard

RECORD = {
    "train_gpt.py": b"print('final_exact val_loss:2.0 val_bpb:1.2')\n",
    "submission.json": b'{"val_bpb": 1.2}',
    "README.md": b"# A small record\n",
    "train_seed1.log": b"final_exact val_loss:2.00000000 val_bpb:1.20000000\n",
}


def as_zip(files: dict[str, bytes] = RECORD, folder: str = "record/") -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(folder + name), data, zipfile.ZIP_DEFLATED)
    return kept.getvalue()


def as_tar(files: dict[str, bytes] = RECORD, folder: str = "record/") -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return kept.getvalue()


def zip_with_link() -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        link = zipfile.ZipInfo("record/train_gpt.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return kept.getvalue()


def tar_with_link() -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        link = tarfile.TarInfo("record/train_gpt.py")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    return kept.getvalue()


def bomb() -> bytes:
    """A few hundred kilobytes that unpack to 65 MiB of zeros."""
    return as_zip({"model.bin": bytes(65 * 2**20)})


PACKED = {
    "record.zip": as_zip(),
    "record.tar": as_tar(),
    "record.tar.gz": gzip.compress(as_tar(), mtime=0),
    "record.tar.zst": zstandard.compress(as_tar()),
}
