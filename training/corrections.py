"""Corrections: pictures that a person has labelled, which training adds to the dataset.

    python training/train.py --corrections mnist-corrections.tar

The server's page downloads them as a tar file of two gzipped IDX files with the names of MNIST's
training archives, and classes.json with the names of the classes unless they are digits; a zip file
or a folder with the same files works as well. They are split into those to train on and those to
hold back, added to the dataset, and the trained network is compared with the model that it
replaces.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from dataset import Dataset
from evaluate import probabilities_of
from model import logits_of
from process import Failure
from publish import published_metadata
from torch import Tensor, nn

NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
CLASSES = "classes.json"  # a list of ten names; without it, the labels are digits
MAX_BYTES = 32 << 20  # of an IDX file, compressed or not
# A zip file raises RuntimeError if it is encrypted or compressed in an unknown way.
UNUSABLE = (
    *(ValueError, EOFError, RuntimeError, gzip.BadGzipFile, zlib.error),
    *(tarfile.TarError, zipfile.BadZipFile),
)
SHARE = 1 / 16  # few corrections are repeated until they are this share of the training images
HELD_BACK = 4  # one correction in four is not trained on, but shows whether training helped
MIN_TO_HOLD_BACK = 8  # with fewer corrections, all of them are trained on
TOLERANCE = 0.002  # how far the held-out accuracy may fall because of corrections


class Corrections(NamedTuple):
    """Images uint8 [N, 28, 28], white on black, labels int64 [N], and a checksum of everything."""

    train: Tensor
    train_labels: Tensor
    held_back: Tensor
    held_back_labels: Tensor
    checksum: str


def load(paths: Iterable[Path], folder: Path, classes: tuple[str, ...] = ()) -> Corrections | None:
    """The corrections in `paths` and in `folder`, which need not exist; None if there are none.

    Each path is a tar file, a zip file or a folder, and a folder may contain several of them. All
    must have these classes. Raises Failure or OSError.
    """
    labels: dict[bytes, int] = {}
    for source in find([*paths, *([folder] if folder.exists() else [])]):
        for image, label in read(source, classes):
            if labels.setdefault(image, label) != label:
                problem = f"a picture is labelled {label} here and {labels[image]} before"
                raise Failure(f"{source}: {problem}", os.EX_DATAERR)
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


def read(source: Path, classes: tuple[str, ...]) -> list[tuple[bytes, int]]:
    """The pictures (784 bytes) and labels of a tar file, zip file or folder.

    Raises Failure or OSError.
    """
    try:
        files = list(known_files(source))
        labelled = json.loads(dict(files).get(CLASSES, "[]"))
        if labelled != list(classes):
            raise ValueError(f"its labels are {labelled or 'digits'}, not {classes or 'digits'}")
        for name in NAMES:
            if (count := sum(name == other for other, _ in files)) != 1:
                raise ValueError(f"{count} files named {name} instead of one")
        images, labels = (read_idx(dict(files)[name]) for name in NAMES)
        if images.ndim != 3 or images.shape[1:] != (28, 28):
            raise ValueError(f"images of shape {images.shape} instead of (N, 28, 28)")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images, but labels of shape {labels.shape}")
        if len(labels) == 0:
            raise ValueError("it contains no corrections")
        if labels.max() > 9:
            raise ValueError(f"the label {labels.max()} is not one of 0 to 9")
    except UNUSABLE as error:
        raise Failure(f"{source}: {error}", os.EX_DATAERR) from error
    return [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]


def known_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """The names, without folders, and contents of the files in `source` that are named as above.

    `source` is a tar file, a zip file or a folder; its other files are not read.
    """
    known = (*NAMES, CLASSES)
    if source.is_dir():
        for path in filter(Path.is_file, source.iterdir()):
            if path.name in known:
                yield path.name, path.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for path in archive.namelist():
                if (name := os.path.basename(path)) in known:
                    with archive.open(path) as file:
                        yield name, file.read(MAX_BYTES)
    else:
        with tarfile.open(source, "r:") as archive:
            for member in filter(tarfile.TarInfo.isreg, archive):
                if (name := os.path.basename(member.name)) in known:
                    yield name, archive.extractfile(member).read(MAX_BYTES)


def read_idx(content: bytes) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes (LeCun, Cortes, Burges: the MNIST database) as an array.

    Raises ValueError if it is anything else, or what gzip raises.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        plain = file.read(MAX_BYTES)
    if len(plain) < 4 or plain[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of unsigned bytes")
    dimensions = plain[3]
    shape = np.frombuffer(plain, ">u4", dimensions, offset=4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def split(labels: dict[bytes, int]) -> Corrections:
    """Split corrections into those to train on and those to hold back.

    The pixels alone decide, so that a correction stays on its side when others are added.
    """
    ordered = sorted(labels.items())
    pixels = bytearray().join(image for image, _ in ordered)
    images = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, 28, 28)
    digits = torch.tensor([label for _, label in ordered])
    chosen = [hashlib.sha256(image).digest()[0] % HELD_BACK == 0 for image, _ in ordered]
    held_back = torch.tensor(chosen) & (len(ordered) >= MIN_TO_HOLD_BACK)
    checksum = hashlib.sha256(b"".join(image + bytes([label]) for image, label in ordered))
    return Corrections(
        *(images[~held_back], digits[~held_back]),
        *(images[held_back], digits[held_back]),
        checksum.hexdigest(),
    )


def add_to(data: Dataset, corrections: Corrections) -> Dataset:
    """`data` with the corrections among its training images, repeated until they are SHARE."""
    count = max(1, len(corrections.train))  # all of them may happen to be held back
    times = max(1, round(SHARE / (1 - SHARE) * len(data.train) / count))
    return data._replace(
        train=torch.cat([data.train, corrections.train.repeat(times, 1, 1)]),
        train_labels=torch.cat([data.train_labels, corrections.train_labels.repeat(times)]),
    )


def judge(
    network: nn.Module, accuracy: float, data: Dataset, corrections: Corrections, folder: Path
) -> dict[str, object]:
    """Compare a trained network with the model.onnx in `folder`, which it is to replace.

    `accuracy` is the network's on the held-out images. If the model was trained on corrections
    itself, the accuracy before those counts, so that repeated training cannot lower it step by
    step. Returns what the new model's metadata records; raises Failure if the accuracy is more than
    TOLERANCE below the one before.
    """
    images, labels = corrections.held_back, corrections.held_back_labels
    held_out = len(data.held_out)
    both = torch.cat([data.held_out, images]).numpy()
    answers = probabilities_of(str(folder / "model.onnx"), both).argmax(axis=1)
    before = answers == torch.cat([data.held_out_labels, labels]).numpy()
    recorded = json.loads(published_metadata(folder / "model.onnx").get("corrections", "{}"))
    accuracy_before = float(before[:held_out].mean())
    reference = round(max(accuracy_before, recorded.get("reference_accuracy", 0)), 5)
    right_before = int(before[held_out:].sum())
    right = int((logits_of(network.cpu(), images).argmax(dim=1) == labels).sum())
    print(
        f"held-back corrections read correctly: {right_before} of {len(images)} before, "
        f"{right} after; held-out accuracy: {reference:.2%} before, {accuracy:.2%} after",
        flush=True,
    )
    if accuracy < reference - TOLERANCE:
        raise Failure(
            f"the corrections lower the held-out accuracy from {reference:.2%} to "
            f"{accuracy:.2%}, by more than {TOLERANCE:.2%}: nothing published, the checkpoint is "
            "kept",
            os.EX_SOFTWARE,
        )
    return {
        "count": len(corrections.train) + len(images),
        "held_back": len(images),
        "held_back_right_before": right_before,
        "held_back_right_after": right,
        "reference_accuracy": reference,
        "sha256": corrections.checksum,
    }
