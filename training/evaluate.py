"""Evaluates published models: accuracy, confusion, calibration and rejection of non-digits.

    python training/evaluate.py artifacts/model.onnx                  # MNIST's test set, or that of
                                                                      # the dataset, if not digits
    python training/evaluate.py artifacts/model.onnx my-digits        # my-digits/DIGIT/NAME.png
    python training/evaluate.py artifacts/model.onnx --compare other.onnx
    python training/evaluate.py artifacts/model.onnx --plots plots    # confusion.png, mistakes.png

Images in a folder must be in MNIST's form: 28x28 pixels, light on black.
"""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from dataset import DATASETS
from drawing.non_digits import draw_unseen_kinds
from PIL import Image, UnidentifiedImageError
from process import explained_file_errors, write_atomically
from torch import Tensor

# onnxruntime sends telemetry unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BINS = 15
REJECTION_IMAGES = 2_000  # of each kind
MISTAKES = 40  # at most so many in a plot


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


def probabilities_of(model: bytes | str, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """The probabilities float32 [N, 10] that a model file gives for uint8 images [N, 28, 28].

    `model` is the path or the content of the file.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts])


def metadata_of(model: str) -> dict[str, str]:
    """The metadata of a model file, which docs/your-own-model.md describes."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map


def own_test_images(model: str, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Test images uint8 [N, 28, 28] and labels int64 [N] of what a model reads.

    Raises UsageError, Failure or OSError.
    """
    metadata = metadata_of(model)
    name = metadata.get("dataset") if metadata.get("reading") == "whole" else "mnist"
    if name not in DATASETS:
        raise click.UsageError(f"{model} was trained on {name}, which is not known: give a folder")
    folder = data_dir or ROOT / "data" / DATASETS[name].folder
    return tuple(part.numpy() for part in DATASETS[name].load(folder, 0)[2:])


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels int64 [N] from DIGIT/NAME.png; raises UsageError."""
    paths = [path for digit in range(10) for path in sorted((folder / str(digit)).glob("*.*"))]
    if not paths:
        raise click.UsageError(f"{folder} has no images named DIGIT/NAME.png")
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L")))
        except (UnidentifiedImageError, OSError) as error:
            raise click.UsageError(f"{path} is not a readable image") from error
        if images[-1].shape != (28, 28):
            raise click.UsageError(f"{path} is not 28x28 pixels")
    return np.stack(images), np.array([int(path.parent.name) for path in paths])


def print_evaluation(model: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Print the figures of one model; its probabilities float32 [N, 10]."""
    metadata, probabilities = metadata_of(model), probabilities_of(model, images)
    names = json.loads(metadata.get("classes", "null")) or [""] * 10
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1))
    error = expected_calibration_error(torch.from_numpy(probabilities), torch.from_numpy(labels))
    print(f"{model}: accuracy {np.trace(matrix) / len(labels):.2%} of {len(labels)} images")
    print(f"expected calibration error {error:.4f}\n\nlabel  accuracy  predicted as 0 to 9")
    for label, row in enumerate(matrix):
        share = f"{row[label] / row.sum():8.2%}" if row.sum() else "       -"
        counts = " ".join(f"{count:5}" for count in row)
        print(f"{label:5}  {share}  {counts}  {names[label]}".rstrip())
    if metadata.get("reading") == "whole":
        return probabilities
    print("\nnon-digits of kinds that were not trained on     over 90 %  over 99 %")
    for name, pictures in draw_unseen_kinds(REJECTION_IMAGES, seed=0).items():
        confidence = probabilities_of(model, pictures).max(axis=1)
        print(f"{name:47}  {(confidence > 0.9).mean():9.1%}  {(confidence > 0.99).mean():9.1%}")
    return probabilities


def print_comparison(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """How two models' predictions differ, given their probabilities [N, 10]."""
    right, other_right = one.argmax(axis=1) == labels, other.argmax(axis=1) == labels
    print(f"\nonly the first model is right:  {(right & ~other_right).sum():5}")
    print(f"only the second model is right: {(~right & other_right).sum():5}")
    print(f"both are wrong:                 {(~right & ~other_right).sum():5}")


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """An empty figure of this size in inches, which is written to `path` as a PNG file at the end.

    Raises OSError.
    """
    from matplotlib.figure import Figure  # takes a second, which only plots are worth

    plot = Figure(figsize=(width, height), layout="constrained")
    yield plot
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def plot_curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss, held-out accuracy and learning rate after each epoch, as in metrics.jsonl."""
    epochs = [line["epoch"] for line in history]
    names = ("loss", "held_out_accuracy", "learning_rate")
    with figure(path, 10, 3) as plot:
        for axis, name in zip(plot.subplots(1, 3), names, strict=True):
            axis.plot(epochs, [line[name] for line in history], marker="o")
            axis.set(title=name.replace("_", " "), xlabel="epoch", xticks=epochs)
            axis.ticklabel_format(useOffset=False)
            axis.grid(alpha=0.3)


def plot_results(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, folder: Path
) -> None:
    """Write confusion.png and mistakes.png into `folder`, for uint8 [N, 28, 28] and [N, 10].

    Rows of the first one are labels, columns are predictions. The second one has the most confident
    mistakes, with label, prediction and confidence.
    """
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    matrix = confusion_matrix(labels, predictions)
    mistakes = matrix * (1 - np.eye(10, dtype=int))
    with figure(folder / "confusion.png", 5, 5) as plot:
        axis = plot.subplots()
        axis.imshow(mistakes, cmap="Reds")  # the diagonal would hide everything else
        for label, prediction in np.argwhere(matrix):
            dark = mistakes[label, prediction] > 0.6 * max(1, mistakes.max())
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": "w" if dark else "k"}
            axis.text(prediction, label, str(matrix[label, prediction]), **style)
        axis.set(xlabel="prediction", ylabel="label", xticks=range(10), yticks=range(10))
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-confidence[wrong])][:MISTAKES]
    rows = max(1, -(-len(shown) // 8))
    with figure(folder / "mistakes.png", 9, 1.4 * rows + 0.4) as plot:
        plot.suptitle(f"{len(wrong)} of {len(labels)} images misread", fontsize=10)
        axes = list(plot.subplots(rows, 8).flat)
        for axis in axes:
            axis.axis("off")
        for axis, index in zip(axes, shown, strict=False):
            axis.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
            title = f"{labels[index]} read as {predictions[index]}\n{confidence[index]:.0%}"
            axis.set_title(title, fontsize=7)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), nargs=-1)
@click.option("--compare", type=click.Path(exists=True, dir_okay=False), help="a second model")
@click.option("--plots", type=click.Path(path_type=Path), help="where to write the plots")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="DATA_DIR",
    help="the folder of the test set; default: the dataset's folder in data/",
)
def main(
    model: str,
    folder: tuple[Path, ...],
    compare: str | None,
    plots: Path | None,
    data_dir: Path | None,
) -> None:
    """Print the evaluation; exits with 2 for bad input, 65 or 69 if there is no test set."""
    with explained_file_errors():
        images, labels = read_folder(folder[0]) if folder else own_test_images(model, data_dir)
        probabilities = print_evaluation(model, images, labels)
        if compare:
            print()
            print_comparison(labels, probabilities, print_evaluation(compare, images, labels))
        if plots:
            plots.mkdir(parents=True, exist_ok=True)
            plot_results(images, labels, probabilities, plots)
            print(f"\nwrote {plots}/confusion.png and {plots}/mistakes.png")


if __name__ == "__main__":
    main()
