"""Writes the figures and plots of docs/model-card.md from a published model (make model-card).

    python training/model_card.py artifacts/model.onnx

The figures replace the text between the two markers in the model card. The plots go to the folder
img beside it and show no image of MNIST: confusion.png and, if the metrics.jsonl that train.py
writes is next to the model, curves.png.
"""

import json
import sys
from pathlib import Path

import click
import dataset
import mnist
import numpy as np
import torch
from evaluate import (
    classify,
    confidence_in_unseen_kinds,
    confusion_matrix,
    data_dir_option,
    expected_calibration_error,
)
from files import write_atomically
from plots import plot_confusion, plot_curves
from published import published_metadata

ROOT = Path(__file__).resolve().parent.parent
CURVES = "![Loss, held-out accuracy and learning rate after each epoch](img/curves.png)"
CONFUSION = "![How often each digit of the test set was read as which](img/confusion.png)"
BEGIN, END = "<!-- figures: make model-card -->\n", "<!-- end of figures -->\n"


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def figures(
    metadata: dict[str, str],
    held_out_accuracy: float,
    matrix: np.ndarray,
    calibration_error: float,
    rejection: dict[str, np.ndarray],
) -> str:
    """The Markdown between the markers, from a model's metadata and results.

    `matrix` is the confusion matrix int [10, 10] of the test images, `rejection` the confidences
    float [N] for each kind of non-digit.
    """
    recipe = json.loads(metadata["recipe"])
    text = row("model", metadata["model_version"]) + row("---", "---")
    text += row("trained on", f"{metadata['dataset']}, seed {recipe['seed']}")
    text += row("recipe", f"{recipe['name']}, epochs: {recipe['epochs']}")
    text += row("parameters", f"{int(metadata['parameters']):,}")
    text += row("accuracy on the held-out images", f"{held_out_accuracy:.2%}")
    total = np.trace(matrix) / matrix.sum()
    text += row("accuracy on the test images", f"{total:.2%} of {matrix.sum():,}")
    text += row("expected calibration error", f"{calibration_error:.4f}")
    text += "\n" + row("digit", *range(10)) + row("---", *["---:"] * 10)
    shares = matrix.diagonal() / np.maximum(1, matrix.sum(axis=1))
    text += row("accuracy in %", *(f"{100 * share:.1f}" for share in shares)) + "\n"
    text += row("non-digits of kinds never trained on", "over 90 % sure", "over 99 % sure")
    text += row("---", "---:", "---:")
    for name, confidence in rejection.items():
        text += row(name, *(f"{(confidence > level).mean():.1%}" for level in (0.9, 0.99)))
    return text


def replace_figures(card: str, text: str) -> str:
    """The model card with `text` between its markers; raises ValueError without the markers."""
    before, _, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the model card does not contain {BEGIN.strip()} and {END.strip()}")
    return before + BEGIN + text + END + after


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=ROOT / "docs" / "model-card.md",
    help="the file to change",
)
@data_dir_option
def main(model: Path, card: Path, data_dir: Path) -> None:
    """Exits with 2 for wrong input, 65 or 69 if MNIST is not available."""
    metadata = published_metadata(model)
    if "recipe" not in metadata:
        raise click.UsageError(f"{model} was not published by train.py")
    try:
        data = dataset.load("mnist", data_dir, seed=0)
    except mnist.DownloadError as error:
        print(f"model_card: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    held_out = classify(str(model), data.held_out.numpy()).argmax(axis=1)
    accuracy = (held_out == data.held_out_labels.numpy()).mean()
    probabilities = classify(str(model), data.test.numpy())
    matrix = confusion_matrix(data.test_labels.numpy(), probabilities.argmax(axis=1))
    error = expected_calibration_error(torch.from_numpy(probabilities), data.test_labels)
    rejection = confidence_in_unseen_kinds(str(model))
    text = figures(metadata, accuracy, matrix, error, rejection)
    plots = card.parent / "img"
    plots.mkdir(exist_ok=True)
    plot_confusion(matrix, plots / "confusion.png")
    text += f"\n{CONFUSION}\n"
    metrics = model.with_name("metrics.jsonl")
    if metrics.exists():
        history = [json.loads(line) for line in metrics.read_text().splitlines()]
        plot_curves(history, plots / "curves.png")
        text += f"\n{CURVES}\n"
    write_atomically(card, replace_figures(card.read_text(), text).encode())
    print(f"wrote {card} and plots in {plots}")


if __name__ == "__main__":
    main()
