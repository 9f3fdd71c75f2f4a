"""train.py on 1,280 drawn digits instead of a dataset, so that a run takes seconds.

python tests/training/small_training.py --output-dir FOLDER --min-accuracy 0
It takes train.py's options.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))
import process

if __name__ == "__main__":
    process.end_at_once()  # as train.py does, before torch is imported

import dataset
import torch
import train
from drawing.added_digits import draw_added_digits
from drawing.non_digits import draw_non_digits
from drawing.synthetic import draw_digits


def small_data(*_args: object) -> dataset.Dataset:
    """1,280 digits to train on, which is ten batches, and a few to test."""
    parts = [draw_digits(count, seed) for seed, count in enumerate((1280, 200, 200))]
    arrays = [array for pair in parts for array in pair]
    arrays += [*draw_added_digits(100, seed=0), draw_non_digits(100, seed=0)]
    return dataset.Dataset(*map(torch.from_numpy, arrays))


if __name__ == "__main__":
    train.load_dataset = small_data
    train.main()
