"""Images to train, calibrate and test with: MNIST, or digits drawn by our own code."""

from pathlib import Path
from typing import NamedTuple

import mnist
import torch
from synthetic import draw_digits
from torch import Tensor

NAMES = ("mnist", "synthetic")
HELD_OUT = 5_000  # of the training images, for the temperature
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
    """`folder` keeps MNIST's archives, `seed` draws the synthetic digits; mnist.DownloadError."""
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
