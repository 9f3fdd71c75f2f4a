"""The images: MNIST or drawn digits, split into training, held-out and test images; batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mnist
import torch
from distributed import rank, ranks
from drawing.synthetic import draw_digits
from torch import Tensor

NAMES = ("mnist", "synthetic")
HELD_OUT = 5_000  # of the training images, for every decision about the model
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 40_000, 5_000


class Dataset(NamedTuple):
    """Images uint8 [N, 28, 28], white on black, and labels int64 [N]."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    test: Tensor
    test_labels: Tensor


def load(name: str, folder: Path, seed: int) -> Dataset:
    """Load a dataset by its name; raises mnist.DownloadError.

    `folder` has the MNIST archives, and `seed` decides which synthetic digits are drawn.
    """
    if name == "mnist":
        images, labels, test, test_labels = mnist.load(folder)
    else:
        images, labels = draw_digits(SYNTHETIC_TRAIN + HELD_OUT, seed=2 * seed)
        test, test_labels = draw_digits(SYNTHETIC_TEST, seed=2 * seed + 1)
    arrays = (
        *(images[:-HELD_OUT], labels[:-HELD_OUT]),
        *(images[-HELD_OUT:], labels[-HELD_OUT:]),
        *(test, test_labels),
    )
    return Dataset(*(torch.from_numpy(array.copy()) for array in arrays))


def batches(
    images: int, steps: range, per_epoch: int, batch: int, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Each step and this rank's share of its indices int64 [batch], in a new order in every epoch.

    The random numbers are seeded for each step, so that a resumed run draws the same ones.
    """
    for epoch in range(steps.start // per_epoch, -(-steps.stop // per_epoch)):
        order = torch.randperm(
            images, generator=torch.Generator().manual_seed(seed * 1_000 + epoch)
        )
        for place in range(per_epoch):
            step = epoch * per_epoch + place
            if step in steps:
                torch.manual_seed((seed + 1) * 1_000_003 + step + (rank() << 52))
                yield step, order[place * batch :][:batch][rank() :: ranks()]
