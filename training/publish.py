"""From trained weights to the model file that a server loads: calibrate, export, verify, publish.

`model.onnx` describes itself: input "image" uint8 [N, 28, 28] (light on black, as in MNIST),
output "probabilities" float32 [N, 10], and its origin and results in the file's metadata, whose
fields docs/your-own-model.md lists.
"""

import hashlib
import json
import logging
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from dataset import Dataset
from drawing.added_digits import draw_added_digits
from drawing.non_digits import draw_non_digits
from evaluate import expected_calibration_error, fit_temperature, onnxruntime, probabilities_of
from google.protobuf.message import DecodeError
from model import logits_of, normalise
from process import Failure, save_tensors, sync_folder, write_atomically
from torch import Tensor, nn

TOLERANCE = 1e-4  # between PyTorch's and onnxruntime's probabilities
PREVIOUS = "model.previous.onnx"
CLEARLY_WORSE = 3  # standard errors of the difference between two models, see check_not_worse()
CALIBRATION_SEED = 1_000_003  # of drawn images that no training with a small seed has seen


class Predictor(nn.Module):
    """What is exported: uint8 [N, 28, 28] to calibrated probabilities float32 [N, 10]."""

    def __init__(self, network: nn.Module, temperature: float):
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Normalise, classify, divide by the temperature, softmax."""
        return torch.softmax(self.network(normalise(image)) / self.temperature, dim=1)


def published_metadata(path: Path) -> dict[str, str]:
    """The metadata of a published model; empty if there is no readable model."""
    try:
        model = onnx.load(path)
    except (OSError, DecodeError):
        return {}
    return {each.key: each.value for each in model.metadata_props}


def content_version(predictor: Predictor) -> str:
    """Twelve hex digits that depend on the weights and the temperature, and on nothing else."""
    digest = hashlib.sha256(repr(predictor.temperature).encode())
    for name, value in sorted(predictor.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def export(predictor: Predictor, metadata: dict[str, object]) -> bytes:
    """The predictor as an ONNX file with a dynamic batch and this metadata."""
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
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def verify(model: bytes, expected: np.ndarray, images: np.ndarray) -> None:
    """Check that onnxruntime gives `expected` for a model file; raises Failure.

    `expected` are PyTorch's probabilities float32 [N, 10] for `images` uint8 [N, 28, 28].
    """
    difference = float(np.abs(probabilities_of(model, images) - expected).max())
    if not difference <= TOLERANCE:
        raise Failure(
            f"onnxruntime differs from PyTorch by {difference:.2g}: nothing published",
            os.EX_SOFTWARE,
        )


def write(folder: Path, network: nn.Module, model: bytes, version: str) -> None:
    """Write mnist_cnn.pt, with the model's version, and then the model; raises OSError.

    Servers read the model only. A crash in between leaves weights with a newer version. A model of
    another version that is replaced is kept as PREVIOUS.
    """
    replaced = folder / "model.onnx"
    if published_metadata(replaced).get("model_version") not in (None, version):
        write_atomically(folder / PREVIOUS, replaced.read_bytes())
    weights = {"model_version": version, "network": network.state_dict()}
    save_tensors(folder / "mnist_cnn.pt", weights)
    write_atomically(replaced, model)


def restore_previous(folder: Path) -> str:
    """Exchange model.onnx and the model that it replaced; returns the version served from now on.

    Servers notice it as they notice a new model. Raises UsageError if there is no previous model.
    """
    model, previous, parked = (folder / n for n in ("model.onnx", PREVIOUS, "model.parked.onnx"))
    version = published_metadata(previous).get("model_version")
    if version is None:
        raise click.UsageError(f"there is no {PREVIOUS} in {folder}: no model has been replaced")
    write_atomically(parked, model.read_bytes())
    os.replace(previous, model)
    os.replace(parked, previous)
    sync_folder(folder)
    return version


def check_not_worse(model: Path, data: Dataset, right: np.ndarray) -> None:
    """Raise Failure if a network is clearly worse than a model file on the held-out images.

    `right`, bool [N], says which of them the network reads correctly. Only the images that one of
    the two alone reads count (McNemar 1947, "Note on the sampling error of the difference between
    correlated proportions"). A file that does not exist, or cannot be run, is not compared.
    """
    try:
        probabilities = probabilities_of(str(model), data.held_out.numpy())
    except Exception:  # onnxruntime's exceptions have no other common base.
        return
    before = probabilities.argmax(axis=1) == data.held_out_labels.numpy()
    lost, gained = (before & ~right).sum(), (right & ~before).sum()
    if lost - gained > CLEARLY_WORSE * np.sqrt(lost + gained):
        raise Failure(
            f"the held-out accuracy {right.mean():.2%} is clearly below the {before.mean():.2%} of "
            "the model that would be replaced: nothing published, the checkpoint is kept; add "
            "--replace to publish it",
            os.EX_SOFTWARE,
        )


def calibrate(network: nn.Module, data: Dataset) -> float:
    """The temperature for the held-out images, with drawn ones if the training has them.

    The shares are about those of the training. With MNIST's images alone, the temperature would
    be lower, and the model would be too confident in everything that does not look like them.
    """
    images, labels = data.held_out, data.held_out_labels
    others = len(images) // 3 if len(data.non_digits) else 0
    drawn, drawn_labels = map(torch.from_numpy, draw_added_digits(others // 2, CALIBRATION_SEED))
    non_digits = torch.from_numpy(draw_non_digits(others, CALIBRATION_SEED))
    targets = F.one_hot(torch.cat([labels, drawn_labels]), 10).float()
    targets = torch.cat([targets, torch.full((others, 10), 0.1)])
    return fit_temperature(logits_of(network, torch.cat([images, drawn, non_digits])), targets)


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
    network: nn.Module, data: Dataset, facts: dict[str, object], folder: Path, replace: bool = False
) -> np.ndarray:
    """Calibrate, export, verify and publish mnist_cnn.pt and model.onnx in `folder`.

    The temperature and the decision to publish do not depend on the test images. `facts` become
    part of the metadata. Returns the probabilities float32 [N, 10] of the test images. Raises
    Failure if, without `replace`, the network is clearly worse than the model in `folder`, and
    OSError if a file cannot be written.
    """
    # On the CPU, like onnxruntime: convolutions on a GPU use TF32, whose rounding is larger than
    # the tolerance.
    network = network.cpu()
    right = (logits_of(network, data.held_out).argmax(dim=1) == data.held_out_labels).numpy()
    if not replace:
        check_not_worse(folder / "model.onnx", data, right)
    temperature = calibrate(network, data)
    probabilities, results = evaluate_on_test_images(network, temperature, data)
    predictor = Predictor(network, temperature).eval()
    metadata = {
        "model_version": content_version(predictor),
        "parameters": sum(parameter.numel() for parameter in predictor.parameters()),
        "temperature": round(temperature, 4),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        **facts,
        "held_out_accuracy": round(float(right.mean()), 5),
        **results,
    }
    model = export(predictor, metadata)
    verify(model, probabilities, data.test.numpy())
    write(folder, network, model, metadata["model_version"])
    print(
        f"held-out accuracy {right.mean():.2%}, test accuracy {results['test_accuracy']:.2%} "
        f"({len(data.test)} images)",
        flush=True,
    )
    return probabilities
