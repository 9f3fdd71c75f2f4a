"""Corrections: pictures that a person has labelled, which training adds to the dataset.

The server's page downloads them as mnist-corrections.tar: two gzipped IDX files with the names of
MNIST's training archives. A zip file or a folder with the same two files works as well.

    python training/train.py --corrections mnist-corrections.tar
"""

import hashlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import mnist
import numpy as np
import torch
from dataset import Dataset
from evaluate import classify
from publish import PublishError, logits_of
from published import published_metadata
from torch import Tensor, nn

NAMES = tuple(mnist.ARCHIVES)[:2]  # the training images and their labels
MAX_BYTES = 32 << 20  # of an IDX file, compressed or not
SHARE = 1 / 16  # few corrections are repeated until they are this share of the training images
HELD_BACK = 4  # one correction in four is not trained on, but shows whether training helped
MIN_TO_HOLD_BACK = 8  # with fewer corrections, all of them are trained on
TOLERANCE = 0.002  # how far the held-out accuracy may fall because of corrections


class CorrectionsError(Exception):
    """A file of corrections cannot be used; the message names the file and the reason."""


class Corrections(NamedTuple):
    """Images uint8 [N, 28, 28], white on black, labels int64 [N], and a checksum of everything."""

    train: Tensor
    train_labels: Tensor
    held_back: Tensor
    held_back_labels: Tensor
    checksum: str


def load(paths: Iterable[Path], folder: Path) -> Corrections | None:
    """The corrections in `paths` and in `folder`, which need not exist; None if there are none.

    Each path is a tar file, a zip file or a folder, and a folder may contain several of them.
    Raises CorrectionsError or OSError.
    """
    labels: dict[bytes, int] = {}
    for source in find([*paths, *([folder] if folder.exists() else [])]):
        for image, label in read(source):
            if labels.setdefault(image, label) != label:
                raise CorrectionsError(
                    f"{source}: a picture is labelled {label} here and {labels[image]} before"
                )
    return split(labels) if labels else None


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


def split(labels: dict[bytes, int]) -> Corrections:
    """Split corrections into those to train on and those to hold back.

    The pixels alone decide, so that a correction stays on its side when others are added.
    """
    ordered = sorted(labels.items())
    checksum = hashlib.sha256()
    parts: tuple[list, list] = ([], [])
    for image, label in ordered:
        checksum.update(image + bytes([label]))
        held_back = hashlib.sha256(image).digest()[0] % HELD_BACK == 0
        parts[held_back and len(ordered) >= MIN_TO_HOLD_BACK].append((image, label))
    tensors = []
    for part in parts:
        pixels = np.frombuffer(b"".join(image for image, _ in part), np.uint8)
        tensors.append(torch.from_numpy(pixels.reshape(-1, 28, 28).copy()))
        tensors.append(torch.tensor([label for _, label in part], dtype=torch.int64))
    return Corrections(*tensors, checksum.hexdigest())


def add_to(data: Dataset, corrections: Corrections) -> Dataset:
    """`data` with the corrections among its training images, repeated until they are SHARE."""
    count = len(corrections.train)
    times = max(1, round(SHARE / (1 - SHARE) * len(data.train) / count))
    return data._replace(
        train=torch.cat([data.train, corrections.train.repeat(times, 1, 1)]),
        train_labels=torch.cat([data.train_labels, corrections.train_labels.repeat(times)]),
    )


class Before(NamedTuple):
    """What the model that is to be replaced achieves: the held-out accuracy that later models are
    compared with, and the number of held-back corrections that it reads correctly."""

    accuracy: float
    right: int


def measure_before(folder: Path, data: Dataset, corrections: Corrections) -> Before:
    """Evaluate the model.onnx in `folder` before it is replaced.

    If it was trained on corrections itself, the accuracy before those counts, so that repeated
    training cannot lower it step by step.
    """
    model = folder / "model.onnx"
    images = torch.cat([data.held_out, corrections.held_back]).numpy()
    labels = torch.cat([data.held_out_labels, corrections.held_back_labels]).numpy()
    right = classify(str(model), images).argmax(axis=1) == labels
    recorded = json.loads(published_metadata(model).get("corrections", "{}"))
    accuracy = right[: len(data.held_out)].mean()
    reference = max(float(accuracy), recorded.get("reference_accuracy", 0))
    return Before(round(reference, 5), int(right[len(data.held_out) :].sum()))


def judge(
    network: nn.Module, history: list[dict], corrections: Corrections, before: Before
) -> dict[str, object]:
    """Report what the training on corrections changed; returns what the model's metadata records.

    `history` has the metrics of the training. Raises PublishError if the held-out accuracy is more
    than TOLERANCE below the one before.
    """
    accuracy = history[-1]["held_out_accuracy"]
    images, labels = corrections.held_back, corrections.held_back_labels
    right = (
        int((logits_of(network.cpu(), images).argmax(dim=1) == labels).sum()) if len(images) else 0
    )
    print(
        f"held-back corrections read correctly: {before.right} of {len(images)} before, "
        f"{right} after; held-out accuracy: {before.accuracy:.2%} before, {accuracy:.2%} after",
        flush=True,
    )
    if accuracy < before.accuracy - TOLERANCE:
        raise PublishError(
            f"the corrections lower the held-out accuracy from {before.accuracy:.2%} to "
            f"{accuracy:.2%}, by more than {TOLERANCE:.2%}: nothing published, the checkpoint is "
            "kept"
        )
    return {
        "count": len(corrections.train) + len(images),
        "held_back": len(images),
        "held_back_right_before": before.right,
        "held_back_right_after": right,
        "reference_accuracy": before.accuracy,
        "sha256": corrections.checksum,
    }
