"""train.py on 1,280 drawn digits instead of a dataset, so that a run takes seconds.

python tests/small_training.py --output-dir FOLDER --min-accuracy 0      # and train.py's options
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))
import signals

if __name__ == "__main__":
    signals.end_at_once()  # as train.py does, before torch is imported

import dataset
import torch
import train
from drawing.synthetic import draw_digits


def small_data(*_args: object) -> dataset.Dataset:
    """1,280 digits to train on, which is ten batches, and a few to test."""
    parts = [draw_digits(count, seed) for seed, count in enumerate((1280, 200, 200))]
    return dataset.Dataset(*(torch.from_numpy(array) for pair in parts for array in pair))


if __name__ == "__main__":
    dataset.load = small_data
    train.NON_DIGITS_DRAWN = 100  # Drawing thousands takes seconds.
    train.main()
