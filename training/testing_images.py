"""Writes MNIST's test set as pictures to send to the server: TARGET/DIGIT/INDEX.jpg.

    python training/testing_images.py [DATA_DIR] [TARGET]      # data/mnist, data/testing
    python training/testing_images.py --dataset fashion-mnist data/fashion-mnist data/garments

INDEX is the position in the test set, from 0. The data are found or downloaded as for train.py, and
the exit codes are the same.
"""

import os
from pathlib import Path

import click
import numpy as np
from dataset import DATASETS
from PIL import Image
from process import Failure, explained_file_errors

QUALITY = 95  # high, so that JPEG's noise does not change a prediction


def write_images(images: np.ndarray, labels: np.ndarray, target: Path) -> None:
    """Write uint8 [N, 28, 28] as gray JPEGs into folders named by their labels; raises OSError."""
    for digit in range(10):
        (target / str(digit)).mkdir(parents=True, exist_ok=True)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(target / str(label) / f"{index}.jpg", quality=QUALITY)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("data_dir", type=click.Path(path_type=Path), default="data/mnist")
@click.argument("target", type=click.Path(path_type=Path), default="data/testing")
@click.option("--dataset", type=click.Choice(tuple(DATASETS)), default="mnist")
def main(data_dir: Path, target: Path, dataset: str) -> None:
    """Write the pictures."""
    with explained_file_errors():
        _, _, images, labels = DATASETS[dataset].load(data_dir, 0)
    try:
        write_images(images.numpy(), labels.numpy(), target)
    except OSError as error:
        raise Failure(f"cannot write the pictures: {error}", os.EX_CANTCREAT) from error
    print(f"wrote {len(images)} pictures as {target}/DIGIT/INDEX.jpg")


if __name__ == "__main__":
    main()
