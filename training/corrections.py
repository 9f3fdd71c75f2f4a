"""Corrections: pictures that a person has labelled, which training adds to the dataset.

    python training/train.py --corrections mnist-corrections.tar

corrections_files.py reads the files. Here they are split into those to train on and those to hold
back, added to the dataset, and the trained network is compared with the model that it replaces.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from corrections_files import CorrectionsError, find, read
from dataset import Dataset
from evaluate import classify
from publish import PublishError, logits_of
from published import published_metadata
from torch import Tensor, nn

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
    count = max(1, len(corrections.train))  # all of them may happen to be held back
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
