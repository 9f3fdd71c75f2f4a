"""Plots of a run and of a model, as PNG files: curves.png, confusion.png, mistakes.png."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from evaluate import confusion_matrix
from files import write_atomically

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

MISTAKES = 40


def save(figure: plt.Figure, path: Path) -> None:
    """Write the figure and close it; raises OSError."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    write_atomically(path, buffer.getvalue())


def plot_curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss, held-out accuracy and learning rate after each epoch, as in metrics.jsonl."""
    epochs = [line["epoch"] for line in history]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, name in zip(axes, ("loss", "held_out_accuracy", "learning_rate"), strict=True):
        axis.plot(epochs, [line[name] for line in history], marker="o")
        axis.set(title=name.replace("_", " "), xlabel="epoch", xticks=epochs)
        axis.ticklabel_format(useOffset=False)
        axis.grid(alpha=0.3)
    save(figure, path)


def plot_confusion(matrix: np.ndarray, path: Path) -> None:
    """A confusion matrix int [10, 10]: rows are labels, columns are predictions."""
    mistakes = matrix * (1 - np.eye(10, dtype=int))
    figure, axis = plt.subplots(figsize=(5, 5), layout="constrained")
    axis.imshow(mistakes, cmap="Reds")  # the diagonal would hide everything else
    for label, prediction in np.ndindex(10, 10):
        count = matrix[label, prediction]
        if count:
            dark = mistakes[label, prediction] > 0.6 * max(1, mistakes.max())
            axis.text(
                *(prediction, label, str(count)),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    axis.set(xlabel="prediction", ylabel="label", xticks=range(10), yticks=range(10))
    save(figure, path)


def plot_mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, path: Path
) -> None:
    """The most confident mistakes among uint8 [N, 28, 28], with label, prediction, confidence."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-confidence[wrong])][:MISTAKES]
    rows = max(1, -(-len(shown) // 8))
    figure, axes = plt.subplots(rows, 8, figsize=(9, 1.4 * rows + 0.4), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(labels)} images misread", fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, shown, strict=False):
        axis.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(
            f"{labels[index]} read as {predictions[index]}\n{confidence[index]:.0%}", fontsize=7
        )
    save(figure, path)


def plot_run(
    history: list[dict[str, float]],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    folder: Path,
) -> None:
    """Write all three plots into `folder`, from a run's metrics and its test images' results."""
    plot_curves(history, folder / "curves.png")
    plot_confusion(confusion_matrix(labels, probabilities.argmax(axis=1)), folder / "confusion.png")
    plot_mistakes(images, labels, probabilities, folder / "mistakes.png")
