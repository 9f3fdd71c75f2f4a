"""The table of conditions: how often a digit is read correctly after what people do to a picture.

Run:  python bench/conditions.py MODEL [DATA_DIR] [--count 1000] [--only NAME ...] [--split test]
MODEL is a model.onnx; DATA_DIR holds MNIST (default data/mnist); without them, synthetic
digits are used, and the table says so. Limits and constants of the server are chosen on --split
tune, the last 5,000 training images.

Each upload goes through the stages of the server: open_image, decode, read.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [
    str(ROOT / folder) for folder in ("inference", "training", "tests", "tests/inference")
]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would send telemetry.

import onnxruntime
from gallery.handwriting import touching_pair
from gallery.papers import shadowed_page
from gallery.scenes import CONDITIONS
from gallery.sources import load_digits
from vision.gray import decode
from vision.image import ImageError, open_image
from vision.reading import SURE, Classify, read

PAIRS, PAGES = 150, 30


def classifier(model: Path) -> Classify:
    """The model as a function: probabilities, float32 [N, 10], of uint8 [N, 28, 28]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    return lambda images: session.run(None, {"image": images})[0]


def answer(classify: Classify, upload: bytes) -> tuple[int | None, float]:
    """The digit on an upload and its confidence; None for an upload that is refused."""
    try:
        probabilities = read(decode(open_image(upload)).gray, classify).probabilities[0]
    except ImageError:
        return None, 0.0
    return int(probabilities.argmax()), float(probabilities.max())


def accuracy(
    classify: Classify, name: str, digits: np.ndarray, labels: np.ndarray, seed: int = 0
) -> float:
    """The share of uint8 [N, 28, 28] that is read correctly under a condition."""
    rng = np.random.default_rng(seed)
    answers = [answer(classify, CONDITIONS[name](digit, rng))[0] for digit in digits]
    return float(np.mean([digit == label for digit, label in zip(answers, labels, strict=True)]))


def pairs_read(classify: Classify, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> int:
    """How many of PAIRS touching pairs are cut in two digits that are both read correctly."""
    rng = np.random.default_rng(seed)
    correct = 0
    for left, right in rng.integers(0, len(labels), (PAIRS, 2)):
        page = touching_pair(images[left], images[right], rng)
        probabilities = read(page, classify, several=True).probabilities
        correct += [*probabilities.argmax(axis=1)] == [labels[left], labels[right]]
    return correct


def pages_read(classify: Classify, seed: int = 0) -> int:
    """How many of PAGES empty pages with a hard shadow are read with a high confidence."""
    rng = np.random.default_rng(seed)
    return sum(answer(classify, shadowed_page(rng))[1] > SURE for _ in range(PAGES))


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of a model under each condition.")
    parser.add_argument("model", type=Path)
    parser.add_argument("data_dir", type=Path, nargs="?", default=ROOT / "data" / "mnist")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--split", choices=("test", "tune"), default="test")
    options = parser.parse_args()
    source, images, labels = load_digits(options.data_dir, options.count, options.split)
    print(f"| condition ({len(labels):,} {source}) | accuracy |\n|---|---:|")
    classify = classifier(options.model)
    for name in options.only:
        share = accuracy(classify, name, images, labels)
        print(f"| {name} | {share:.2%} |", flush=True)
    pairs = pairs_read(classify, images, labels)
    print(f"| touching pairs split and read correctly | {pairs} of {PAIRS} |")
    print(f"| empty shadowed pages read with over 90 % | {pages_read(classify)} of {PAGES} |")


if __name__ == "__main__":
    main()
