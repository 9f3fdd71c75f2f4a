"""From trained weights to the model file that a server loads: calibrate, export, verify, publish.

`model.onnx` describes itself: input "image" uint8 [N, 28, 28] (white digit on black, as MNIST),
output "probabilities" float32 [N, 10], and its origin and results in the file's metadata.
"""

import hashlib
import io
import json
import logging
import warnings
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from dataset import Dataset
from drawing.non_digits import draw_non_digits
from drawing.styles import draw_added_digits
from evaluate import classify, expected_calibration_error, fit_temperature, onnxruntime
from files import finish_publishing, publish_together, remove_temporary_files
from network import normalise
from published import published_dataset
from torch import Tensor, nn

TOLERANCE = 1e-4  # between PyTorch's and onnxruntime's probabilities
CALIBRATION_SEED = 1_000_003  # of drawn images that no training with a small seed has seen


class PublishError(Exception):
    """The model may not be published; the message says why."""


class Predictor(nn.Module):
    """What is exported: uint8 [N, 28, 28] to calibrated probabilities float32 [N, 10]."""

    def __init__(self, network: nn.Module, temperature: float):
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Normalise, classify, divide by the temperature, softmax."""
        return torch.softmax(self.network(normalise(image)) / self.temperature, dim=1)


def content_version(predictor: Predictor) -> str:
    """Twelve hex digits that depend on the weights and the temperature, and on nothing else."""
    digest = hashlib.sha256(repr(predictor.temperature).encode())
    for name, value in sorted(predictor.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def export(predictor: Predictor) -> onnx.ModelProto:
    """The predictor as an ONNX graph with a dynamic batch."""
    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    # The exporter logs its progress in detail and warns about its own deprecations.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            predictor,
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=[{0: torch.export.Dim("N")}],
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with the paths of the machine that trained
    return model


def verify(model: bytes, expected: np.ndarray, images: np.ndarray) -> None:
    """Check that onnxruntime gives `expected` for a model file; raises PublishError.

    `expected` are PyTorch's probabilities float32 [N, 10] for `images` uint8 [N, 28, 28].
    """
    difference = float(np.abs(classify(model, images) - expected).max())
    if not difference <= TOLERANCE:
        raise PublishError(
            f"onnxruntime differs from PyTorch by {difference:.2g}: nothing published"
        )


def describe(model: onnx.ModelProto, predictor: Predictor, facts: dict[str, object]) -> bytes:
    """The content of the file, with `facts` and what follows from the predictor as metadata."""
    metadata = {
        "model_version": content_version(predictor),
        "parameters": sum(parameter.numel() for parameter in predictor.parameters()),
        "temperature": round(predictor.temperature, 4),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        **facts,
    }
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def prepare_folder(folder: Path, dataset: str, replace: bool) -> None:
    """Tidy the output folder before a run; raises OSError.

    Raises UsageError if synthetic digits must not replace the folder's model, which is of MNIST.
    """
    remove_temporary_files(folder)
    finish_publishing(folder)
    model = folder / "model.onnx"
    if dataset == "synthetic" and not replace and published_dataset(model) == "mnist":
        raise click.UsageError(f"{model} was trained on MNIST: add --replace to replace it")


def calibrate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The temperature for held-out images uint8 [N, 28, 28] with drawn digits and non-digits.

    Their shares are about those of the training. With MNIST's images alone, the temperature would
    be lower, and the model would be too confident in everything that does not look like them.
    """
    others = len(images) // 3
    drawn, drawn_labels = map(torch.from_numpy, draw_added_digits(others // 2, CALIBRATION_SEED))
    non_digits = torch.from_numpy(draw_non_digits(others, CALIBRATION_SEED))
    digits = F.one_hot(torch.cat([labels, drawn_labels]), 10).float()
    targets = torch.cat([digits, torch.full((others, 10), 0.1)])
    return fit_temperature(logits_of(network, torch.cat([images, drawn, non_digits])), targets)


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Logits float32 [N, 10] for uint8 images [N, 28, 28]."""
    return torch.cat([network(normalise(part)) for part in images.split(1000)])


def evaluate_on_test_images(
    network: nn.Module, temperature: float, data: Dataset
) -> tuple[np.ndarray, dict[str, float]]:
    """The probabilities float32 [N, 10] of the test images, and the results for the metadata.

    `ece_before` and `ece_after` are the calibration errors without and with the temperature.
    """
    logits, labels = logits_of(network, data.test), data.test_labels
    probabilities = torch.softmax(logits / temperature, dim=1)
    accuracy = (probabilities.argmax(dim=1) == labels).float().mean().item()
    errors = [expected_calibration_error(p, labels) for p in (logits.softmax(dim=1), probabilities)]
    results = {"test_accuracy": accuracy, "ece_before": errors[0], "ece_after": errors[1]}
    return probabilities.numpy(), {name: round(value, 5) for name, value in results.items()}


def publish(
    network: nn.Module, data: Dataset, folder: Path, floor: float, facts: dict[str, object]
) -> np.ndarray:
    """Calibrate, export, verify and publish mnist_cnn.pt and model.onnx in `folder`.

    The temperature and the decision to publish do not depend on the test images. Returns the
    probabilities float32 [N, 10] of the test images. Raises PublishError if the held-out accuracy
    is below `floor`, and OSError if a file cannot be written.
    """
    # On the CPU, like onnxruntime: convolutions on a GPU use TF32, whose rounding is larger than
    # the tolerance.
    network = network.cpu()
    logits, labels = logits_of(network, data.held_out), data.held_out_labels
    held_out_accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    if held_out_accuracy < floor:
        raise PublishError(
            f"the held-out accuracy {held_out_accuracy:.2%} is below --min-accuracy {floor:.2%}: "
            "nothing published, the checkpoint is kept"
        )
    temperature = calibrate(network, data.held_out, labels)
    probabilities, results = evaluate_on_test_images(network, temperature, data)
    facts = {**facts, "held_out_accuracy": round(held_out_accuracy, 5), **results}
    predictor = Predictor(network, temperature).eval()
    model = describe(export(predictor), predictor, facts)
    verify(model, probabilities, data.test.numpy())
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    publish_together(folder, {"mnist_cnn.pt": weights.getvalue(), "model.onnx": model})
    print(
        f"held-out accuracy {held_out_accuracy:.2%}, test accuracy {results['test_accuracy']:.2%} "
        f"({len(data.test)} images)",
        flush=True,
    )
    return probabilities
