"""Reads the files in which people keep corrections.

The server's page downloads corrections as mnist-corrections.tar: two gzipped IDX files with the
names of MNIST's training archives. A zip file or a folder with the same two files works as well.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import mnist

NAMES = tuple(mnist.ARCHIVES)[:2]  # the training images and their labels
MAX_BYTES = 32 << 20  # of an IDX file, compressed or not


class CorrectionsError(Exception):
    """A file of corrections cannot be used; the message names the file and the reason."""


def find(paths: Iterable[Path]) -> list[Path]:
    """The tar files, zip files and folders with IDX files among `paths` and in them."""
    found = []
    for path in paths:
        if path.is_dir() and not any((path / name).exists() for name in NAMES):
            # Hidden entries belong to the operating system or to a mounted ConfigMap.
            found += [entry for entry in sorted(path.iterdir()) if entry.name[0] != "."]
        else:
            found.append(path)
    return found


def read(source: Path) -> list[tuple[bytes, int]]:
    """The pictures (784 bytes) and labels of a tar file, zip file or folder.

    Raises CorrectionsError or OSError.
    """
    try:
        images, labels = (mnist.parse_idx(decompress(part)) for part in idx_files(source))
        if images.ndim != 3 or images.shape[1:] != (28, 28):
            raise ValueError(f"images of shape {images.shape} instead of (N, 28, 28)")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {labels.shape}")
        if len(labels) == 0:
            raise ValueError("it contains no corrections")
        if labels.max() > 9:
            raise ValueError(f"the label {labels.max()} is not a digit")
    # A zip file raises RuntimeError if it is encrypted or compressed in an unknown way.
    except (ValueError, tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise CorrectionsError(f"{source}: {error}") from error
    return [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]


def idx_files(source: Path) -> list[bytes]:
    """The two gzipped IDX files in a tar file, zip file or folder; raises ValueError and others."""
    found: list[tuple[str, bytes]] = []

    def collect(name: str, file: BinaryIO) -> None:
        with file:
            found.append((os.path.basename(name), file.read(MAX_BYTES)))

    if source.is_dir():
        for path in source.iterdir():
            if path.name in NAMES:
                collect(path.name, path.open("rb"))
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if os.path.basename(name) in NAMES:
                    collect(name, archive.open(name))
    else:
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                if member.isreg() and os.path.basename(member.name) in NAMES:
                    collect(member.name, archive.extractfile(member))
    for name in NAMES:
        if (count := sum(name == other for other, _ in found)) != 1:
            raise ValueError(f"{count} files named {name} instead of one")
    return [dict(found)[name] for name in NAMES]


def decompress(content: bytes) -> bytes:
    """The content of a complete gzip file; raises ValueError."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip, with its checksum
    try:
        plain = stream.decompress(content, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"a file in it is not gzip: {error}") from error
    if not stream.eof or stream.unused_data:
        raise ValueError(f"a file in it is incomplete or larger than {MAX_BYTES} bytes")
    return plain
