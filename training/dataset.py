"""The images: MNIST or drawn digits, split into training, held-out and test images."""

from pathlib import Path
from typing import NamedTuple

import mnist
import torch
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
