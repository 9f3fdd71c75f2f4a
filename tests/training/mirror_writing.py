"""Corrections for the tests: digits in mirror writing, as tar and zip files of IDX files."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from corrections import NAMES
from drawing import strokes
from idx_files import idx

IMAGES, LABELS = NAMES
# A 7 and a 3 in mirror writing: small_data has no similar digits.
STYLE = {7: "66,6 4,4* 42,100", 3: "66,12 38,0 10,14 18,38 46,48* 12,56 4,78 28,99 72,90"}


def written(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures of each digit in STYLE, and their labels."""
    rng = np.random.default_rng(seed)
    images = [strokes.draw((template,), count, rng) for template in STYLE.values()]
    return np.concatenate(images), np.repeat(list(STYLE), count)


def tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar file of (name, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file of (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def idx_files(images: np.ndarray, labels: np.ndarray) -> list[tuple[str, bytes]]:
    """The names and contents of MNIST's two training archives with these images and labels."""
    return [(IMAGES, idx(images)), (LABELS, idx(labels))]


def save_tar(path: Path, count: int = 10, seed: int = 0) -> Path:
    """Write a tar file of `count` pictures of each digit in STYLE; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(idx_files(*written(count, seed))))
    return path
