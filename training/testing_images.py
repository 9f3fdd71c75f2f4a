"""Writes MNIST's test set as pictures to send to the server: TARGET/DIGIT/INDEX.jpg.

    python training/testing_images.py [DATA_DIR] [TARGET]      # data/mnist, data/testing

INDEX is the position in the test set, from 0. The archives are found or downloaded as for train.py,
and the exit codes are the same.
"""

import argparse
import os
import sys
from pathlib import Path

import mnist
import numpy as np
from mnist import DownloadError
from PIL import Image

QUALITY = 95  # high, so that JPEG's noise does not change a prediction


def write_images(images: np.ndarray, labels: np.ndarray, target: Path) -> None:
    """Write uint8 [N, 28, 28] as gray JPEGs into folders named by their labels; raises OSError."""
    for digit in range(10):
        (target / str(digit)).mkdir(parents=True, exist_ok=True)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(target / str(label) / f"{index}.jpg", quality=QUALITY)


def fail(code: int, problem: object) -> int:
    """Print what went wrong to standard error and return the exit code."""
    print(f"testing_images: {problem}", file=sys.stderr)
    return code


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures; returns the exit code, after one message if something failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_dir", type=Path, nargs="?", default=Path("data/mnist"))
    parser.add_argument("target", type=Path, nargs="?", default=Path("data/testing"))
    options = parser.parse_args(arguments)
    try:
        mnist.ensure_archives(options.data_dir)
        _, _, images_name, labels_name = mnist.ARCHIVES
        images = mnist.read_idx(options.data_dir / images_name)
        labels = mnist.read_idx(options.data_dir / labels_name)
    except DownloadError as error:
        return fail(error.exit_code, error)
    except OSError as error:
        return fail(os.EX_IOERR, error)
    try:
        write_images(images, labels, options.target)
    except OSError as error:
        return fail(os.EX_CANTCREAT, f"cannot write the pictures: {error}")
    print(f"wrote {len(images)} pictures as {options.target}/DIGIT/INDEX.jpg")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
