"""The datasets; their images, split into training, held-out and test images; batches."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from archives import Images, read_archives
from drawing.added_digits import draw_added_digits, wear
from drawing.non_digits import draw_non_digits
from drawing.synthetic import draw_digits
from process import Failure
from ranks import rank, world_size
from torch import Tensor

HELD_OUT = 5_000  # of the training images, for every decision about the model
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 40_000, 5_000
# Drawn for each epoch, so that a longer training sees more ways of writing.
DRAWN_DIGITS, WORN_DIGITS, NON_DIGITS = 1_000, 500, 1_250


class Source(NamedTuple):
    """A dataset: where its images come from, and what depends on what they show."""

    load: Callable[[Path, int], Images]  # of the folder with the data, and a seed
    folder: str  # in data/
    recipes: tuple[str, ...]  # of model.py; the first one is the default
    min_accuracy: float  # on the held-out images
    reading: str = "digit"  # by the server; "whole" for pictures that are not digits
    classes: tuple[str, ...] = ()  # ten names; none for digits


def synthetic(_folder: Path, seed: int) -> Images:
    """Drawn digits."""
    train = draw_digits(SYNTHETIC_TRAIN + HELD_OUT, seed=2 * seed)
    test = draw_digits(SYNTHETIC_TEST, seed=2 * seed + 1)
    return tuple(map(torch.from_numpy, (*train, *test)))


def mnist(folder: Path, _seed: int = 0) -> Images:
    """MNIST, 60,000 and 10,000 images. Raises Failure or OSError."""
    return read_archives("mnist", "MNIST", folder)


def fashion_mnist(folder: Path, _seed: int = 0) -> Images:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), as many. Raises Failure or OSError."""
    return read_archives("fashion-mnist", "FashionMNIST", folder)


GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
GARMENTS += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DATASETS = {
    "mnist": Source(mnist, "mnist", ("default", "patient"), 0.98),
    "synthetic": Source(synthetic, "mnist", ("default", "patient"), 0.95),
    "fashion-mnist": Source(
        fashion_mnist, "fashion-mnist", ("garments",), 0.85, reading="whole", classes=GARMENTS
    ),
}


class Dataset(NamedTuple):
    """Images uint8 [N, 28, 28], light on black, and labels int64 [N]."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    test: Tensor
    test_labels: Tensor
    added: Tensor  # drawn and worn digits and non-digits, some of which are added to each batch
    added_labels: Tensor
    non_digits: Tensor


def load_dataset(name: str, folder: Path, seed: int, epochs: int) -> Dataset:
    """Load a dataset by its name; raises Failure or OSError.

    `folder` has its data; `seed` decides which digits and non-digits are drawn, and `epochs` how
    many. None are added to pictures of other things.
    """
    source = DATASETS[name]
    images, labels, *test = source.load(folder, seed)
    for pictures, numbers in ((images, labels), test):
        if pictures.shape[1:] != (28, 28) or len(numbers) != len(pictures) or (numbers > 9).any():
            shapes = f"images {tuple(pictures.shape)} and labels {tuple(numbers.shape)}"
            problem = f"{shapes} instead of N images of 28x28 pixels and N labels from 0 to 9"
            raise Failure(f"{name} has {problem}", os.EX_DATAERR)
    times = epochs if source.reading == "digit" else 0
    drawn, worn, others = (times * count for count in (DRAWN_DIGITS, WORN_DIGITS, NON_DIGITS))
    return Dataset(
        *(images[:-HELD_OUT], labels[:-HELD_OUT]),
        *(images[-HELD_OUT:], labels[-HELD_OUT:]),
        *test,
        *added_digits(images[:-HELD_OUT], labels[:-HELD_OUT], drawn, worn, seed),
        torch.from_numpy(draw_non_digits(others, seed)),
    )


def added_digits(
    images: Tensor, labels: Tensor, drawn: int, worn: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Drawn digits and worn copies of some images: uint8 [drawn + worn, 28, 28] and labels."""
    digits, digit_labels = draw_added_digits(drawn, seed)
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(len(images))[:worn]
    copies = wear(images[chosen].numpy(), labels[chosen].numpy(), rng)
    digits = torch.from_numpy(np.concatenate([digits, copies]))
    return digits, torch.cat([torch.from_numpy(digit_labels), labels[chosen]])


def batches(
    images: int, steps: range, per_epoch: int, batch: int, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Each step and this rank's share of its indices int64 [batch], in a new order in every epoch.

    The random numbers are seeded for each step and rank, so that a resumed run draws the same ones.
    """
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == steps.start:
            generator = torch.Generator().manual_seed(seed * 1_000 + epoch)
            order = torch.randperm(images, generator=generator)
        # Only the lower 32 bits of a seed matter.
        torch.manual_seed((seed + 1) * 1_000_003 + step + rank() * 500_000_003)
        yield step, order[place * batch :][:batch][rank() :: world_size()]
