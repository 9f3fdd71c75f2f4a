"""MNIST's file format: IDX files with other content than MNIST's."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import archives
import numpy as np
import pytest
from torchvision.datasets import MNIST


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as a gzipped IDX file, as MNIST's archives are."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def save_archives(
    folder: Path, arrays: Sequence[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Write MNIST's four archives with other content to `folder`, and expect their checksums."""
    resources = []
    for (name, _), array in zip(MNIST.resources, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
        resources.append((name, archives.md5_of(idx(array))))
    monkeypatch.setattr(MNIST, "resources", resources)
    return folder
