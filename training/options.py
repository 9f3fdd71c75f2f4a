"""The flags of train.py; each has an environment variable of the same meaning."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import dataset

DEFAULT_FLOOR = {"mnist": 0.98, "synthetic": 0.95}  # test accuracy


def checked(convert: Callable, accept: Callable, wanted: str) -> Callable[[str], object]:
    """A type for argparse: converted text that is accepted, else an error that says `wanted`."""

    def parse(text: str) -> object:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


def parse_options(description: str) -> argparse.Namespace:
    """The flags, with defaults from the environment; a bad value exits with 2."""
    name = checked(str, lambda value: value in dataset.NAMES, " or ".join(dataset.NAMES))
    count = checked(int, lambda value: value >= 1, "a whole number from 1")
    seed = checked(int, lambda value: 0 <= value < 1 << 30, "a whole number from 0")
    share = checked(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, kind, default, text in (
        ("--dataset", name, "mnist", "mnist, or synthetic: drawn by our own code"),
        ("--data-dir", Path, "data/mnist", "keeps the MNIST archives"),
        ("--output-dir", Path, "artifacts", "gets model.onnx and mnist_cnn.pt"),
        ("--epochs", count, "4", "passes over the training images"),
        ("--seed", seed, "0", "same seed, threads and machine: same weights"),
        ("--min-accuracy", share, None, f"of the test set, to be published {DEFAULT_FLOOR}"),
    ):
        variable = flag[2:].replace("-", "_").upper()
        value = os.environ.get(variable) or default
        parser.add_argument(flag, type=kind, default=value, help=f"{text} ({variable}={value})")
    parser.add_argument("--dry-run", action="store_true", help="a few batches, nothing published")
    options = parser.parse_args()
    if options.min_accuracy is None:
        options.min_accuracy = DEFAULT_FLOOR[options.dataset]
    return options
