"""The table of conditions: how often a digit is read correctly after what people do to a picture.

Run:  python tests/conditions.py MODEL [DATA_DIR] [--count 1000] [--only NAME ...] [--split test]
MODEL is a model.onnx; DATA_DIR holds MNIST (default data/mnist); without them, synthetic
digits are used, and the table says so. Limits and constants of the server are chosen on --split
tune, the last 5,000 training images.

Each upload goes through the stages of the server: open_image, decode, read_one_digit, the model.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "inference"), str(ROOT / "training")]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would send telemetry.

import onnxruntime  # noqa: E402
from gray import decode  # noqa: E402
from handwriting import touching_pair  # noqa: E402
from image import ImageError, open_image  # noqa: E402
from papers import shadowed_page  # noqa: E402
from reading import read_all_digits, read_one_digit  # noqa: E402
from scenes import CONDITIONS  # noqa: E402

PAIRS, PAGES = 150, 30


def normalised(name: str, digits: Iterable[np.ndarray], seed: int = 0) -> np.ndarray:
    """The digits under a condition as the model sees them: uint8 [N, 28, 28], blank if refused."""
    rng = np.random.default_rng(seed)
    return np.stack([as_the_server_sees(CONDITIONS[name](digit, rng)) for digit in digits])


def as_the_server_sees(upload: bytes) -> np.ndarray:
    """Uint8 [28, 28], blank for an upload that is refused."""
    try:
        return read_one_digit(decode(open_image(upload)).gray).digits[0]
    except ImageError:
        return np.zeros((28, 28), np.uint8)


def probabilities(model: Path, images: np.ndarray) -> np.ndarray:
    """The model's probabilities, float32 [N, 10], of uint8 [N, 28, 28]."""
    session = onnxruntime.InferenceSession(str(model))
    batches = np.array_split(images, max(1, len(images) // 500))
    return np.concatenate([session.run(None, {"image": batch})[0] for batch in batches])


def accuracy(model: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of uint8 [N, 28, 28] that is read correctly; a blank image is an error."""
    correct = probabilities(model, images).argmax(axis=1) == labels
    return float((correct & images.any(axis=(1, 2))).mean())


def pairs_read(model: Path, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> int:
    """How many of PAIRS touching pairs are cut in two digits that are both read correctly."""
    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(str(model))

    def run(digits: np.ndarray) -> np.ndarray:
        return session.run(None, {"image": np.asarray(digits)})[0]

    correct = 0
    for left, right in rng.integers(0, len(labels), (PAIRS, 2)):
        page = touching_pair(images[left], images[right], rng)
        digits = read_all_digits(page, lambda images: run(images).max(axis=1)).digits
        correct += [*run(digits).argmax(axis=1)] == [labels[left], labels[right]]
    return correct


def pages_read(seed: int = 0) -> int:
    """How many of PAGES empty pages with a hard shadow are wrongly read as a digit."""
    rng = np.random.default_rng(seed)
    return sum(bool(as_the_server_sees(shadowed_page(rng)).any()) for _ in range(PAGES))


def load_digits(
    folder: Path, count: int, split: str = "test"
) -> tuple[str, np.ndarray, np.ndarray]:
    """MNIST's images, evenly spread over the split; synthetic digits if there are none."""
    if not any(folder.rglob("t10k-images*")):
        from drawing.synthetic import draw_digits

        return ("synthetic digits", *draw_digits(count, seed=99 + (split == "tune")))
    from dataset import mnist

    *train, images, labels = (part.numpy() for part in mnist(folder))
    if split == "tune":
        images, labels = (part[-5000:] for part in train)
    chosen = np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int)
    kind = "test" if split == "test" else "training"
    return f"MNIST {kind} images", images[chosen], labels[chosen]


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
    for name in options.only:
        share = accuracy(options.model, normalised(name, images), labels)
        print(f"| {name} | {share:.2%} |", flush=True)
    pairs = pairs_read(options.model, images, labels)
    print(f"| touching pairs split and read correctly | {pairs} of {PAIRS} |")
    print(f"| empty shadowed pages read as a digit | {pages_read()} of {PAGES} |")


if __name__ == "__main__":
    main()
