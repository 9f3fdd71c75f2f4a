"""Evaluates published models: accuracy, confusion, calibration and rejection of non-digits.

    python training/evaluate.py artifacts/model.onnx                  # MNIST's test set
    python training/evaluate.py artifacts/model.onnx my-digits        # my-digits/DIGIT/NAME.png
    python training/evaluate.py artifacts/model.onnx --compare other.onnx
    python training/evaluate.py artifacts/model.onnx --plots plots    # confusion.png, mistakes.png

Images in a folder must be in MNIST's form: 28x28 pixels, white digit on black.
"""

import os
import sys
from pathlib import Path

import click
import mnist
import numpy as np
import torch
import torch.nn.functional as F
from drawing.non_digits import draw_unseen_kinds
from PIL import Image, UnidentifiedImageError
from torch import Tensor

# onnxruntime sends telemetry unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402

BINS = 15
REJECTION_IMAGES = 2_000  # of each kind


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The T > 0 that minimises the cross entropy of logits / T: logits [N, 10].

    `targets` are labels [N] or probabilities [N, 10].

    Temperature scaling: Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural
    Networks", section 4.2.
    """
    candidates = torch.logspace(-1, 1, 401).tolist()
    return min(candidates, key=lambda t: F.cross_entropy(logits / t, targets).item())


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """The mean gap between confidence and accuracy over 15 equal bins, 0..1 (same paper)."""
    confidence, prediction = probabilities.max(dim=1)
    right = (prediction == labels).float()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gap = torch.zeros(BINS).index_add_(0, bins, confidence - right)
    return (gap.abs().sum() / len(labels)).item()


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """How often each label (row) got each prediction (column): int [10, 10]."""
    return np.bincount(10 * labels + predictions, minlength=100).reshape(10, 10)


def classify(model: bytes | str, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """The probabilities float32 [N, 10] that a model file gives for uint8 images [N, 28, 28].

    `model` is the path or the content of the file.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts])


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels int64 [N] from DIGIT/NAME.png; raises ValueError."""
    paths = [path for digit in range(10) for path in sorted((folder / str(digit)).glob("*.*"))]
    if not paths:
        raise ValueError(f"{folder} has no images named DIGIT/NAME.png")
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L")))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} is not a readable image") from error
        if images[-1].shape != (28, 28):
            raise ValueError(f"{path} is not 28x28 pixels")
    return np.stack(images), np.array([int(path.parent.name) for path in paths])


def confidence_in_unseen_kinds(model: str) -> dict[str, np.ndarray]:
    """The confidences float32 [N] in non-digits of each kind that no recipe is trained on."""
    kinds = draw_unseen_kinds(REJECTION_IMAGES, seed=0).items()
    return {name: classify(model, pictures).max(axis=1) for name, pictures in kinds}


def print_evaluation(model: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Print the figures of one model; its probabilities float32 [N, 10]."""
    probabilities = classify(model, images)
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1))
    error = expected_calibration_error(torch.from_numpy(probabilities), torch.from_numpy(labels))
    print(f"{model}: accuracy {np.trace(matrix) / len(labels):.2%} of {len(labels)} images")
    print(f"expected calibration error {error:.4f}\n\nlabel  accuracy  predicted as 0 to 9")
    for digit, row in enumerate(matrix):
        share = f"{row[digit] / row.sum():8.2%}" if row.sum() else "       -"
        print(f"{digit:5}  {share}  {' '.join(f'{count:5}' for count in row)}")
    print("\nnon-digits of kinds that were not trained on     over 90 %  over 99 %")
    for name, confidence in confidence_in_unseen_kinds(model).items():
        print(f"{name:47}  {(confidence > 0.9).mean():9.1%}  {(confidence > 0.99).mean():9.1%}")
    return probabilities


def print_comparison(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """How two models' predictions differ, given their probabilities [N, 10]."""
    right, other_right = one.argmax(axis=1) == labels, other.argmax(axis=1) == labels
    print(f"\nonly the first model is right:  {(right & ~other_right).sum():5}")
    print(f"only the second model is right: {(~right & other_right).sum():5}")
    print(f"both are wrong:                 {(~right & ~other_right).sum():5}")


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="DATA_DIR",
    default=Path(__file__).resolve().parent.parent / "data" / "mnist",
    help="the folder of the MNIST archives",
)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), nargs=-1)
@click.option("--compare", type=click.Path(exists=True, dir_okay=False), help="a second model")
@click.option("--plots", type=click.Path(path_type=Path), help="where to write the plots")
@data_dir_option
def main(
    model: str, folder: tuple[Path, ...], compare: str | None, plots: Path | None, data_dir: Path
) -> None:
    """Print the evaluation; exits with 2 for bad input, 65 or 69 if MNIST is not available."""
    try:
        images, labels = read_folder(folder[0]) if folder else mnist.load(data_dir)[2:]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except mnist.DownloadError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    probabilities = print_evaluation(model, images, labels)
    if compare:
        print()
        print_comparison(labels, probabilities, print_evaluation(compare, images, labels))
    if plots:
        from plots import plot_confusion, plot_mistakes

        plots.mkdir(parents=True, exist_ok=True)
        matrix = confusion_matrix(labels, probabilities.argmax(axis=1))
        plot_confusion(matrix, plots / "confusion.png")
        plot_mistakes(images, labels, probabilities, plots / "mistakes.png")
        print(f"\nwrote {plots}/confusion.png and {plots}/mistakes.png")


if __name__ == "__main__":
    main()
