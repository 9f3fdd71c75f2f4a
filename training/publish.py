"""From trained weights to the model file that a server loads: export, prove, publish.

`model.onnx` describes itself: input "image" uint8 [N, 28, 28] (white digit on black, as MNIST),
output "probabilities" float32 [N, 10], and how it came about in the file's metadata.
"""

import hashlib
import io
import json
import logging
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch
from calibrate import expected_calibration_error, fit_temperature
from dataset import Dataset
from files import write_atomically
from network import normalise
from torch import Tensor, nn

# onnxruntime reports each process to its makers unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402

TOLERANCE = 1e-4  # between PyTorch's and onnxruntime's probabilities


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
    # The exporter tells its progress at length, and warns of its own deprecations.
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


def classify(model: bytes, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Probabilities float32 [N, 10] that onnxruntime gives for uint8 images [N, 28, 28]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts])


def prove(model: bytes, expected: np.ndarray, images: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of the exported file on the test set; raises PublishError on disagreement.

    `expected` are PyTorch's probabilities float32 [N, 10] for `images` uint8 [N, 28, 28].
    """
    actual = classify(model, images)
    difference = float(np.abs(actual - expected).max())
    if not difference <= TOLERANCE:
        raise PublishError(
            f"onnxruntime differs from PyTorch by {difference:.2g}: nothing published"
        )
    return float((actual.argmax(axis=1) == labels).mean())


def describe(model: onnx.ModelProto, predictor: Predictor, facts: dict[str, object]) -> bytes:
    """The file's bytes with its metadata: `facts`, and what follows from the predictor itself."""
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


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Logits float32 [N, 10] for uint8 images [N, 28, 28]."""
    return torch.cat([network(normalise(part)) for part in images.split(1000)])


def publish(
    network: nn.Module, data: Dataset, folder: Path, floor: float, facts: dict[str, object]
) -> None:
    """Calibrate, export and prove the network; write mnist_cnn.pt and model.onnx into `folder`.

    Raises PublishError when the test accuracy is below `floor`, OSError when writing fails.
    """
    # On the CPU, as onnxruntime: a GPU's convolutions round to TF32, which would look like a fault.
    network = network.cpu()
    temperature = fit_temperature(logits_of(network, data.held_out), data.held_out_labels)
    logits, labels = logits_of(network, data.test), data.test_labels
    probabilities = torch.softmax(logits / temperature, dim=1)
    predictor = Predictor(network, temperature).eval()
    model = export(predictor)
    images = data.test.numpy()
    accuracy = prove(model.SerializeToString(), probabilities.numpy(), images, labels.numpy())
    print(f"test accuracy {accuracy:.2%} ({len(labels)} images, onnxruntime)", flush=True)
    if accuracy < floor:
        raise PublishError(f"{accuracy:.2%} is below --min-accuracy {floor:.2%}: nothing published")
    facts = {
        **facts,
        "test_accuracy": accuracy,
        "ece_before": round(expected_calibration_error(logits.softmax(dim=1), labels), 5),
        "ece_after": round(expected_calibration_error(probabilities, labels), 5),
    }
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    write_atomically(folder / "mnist_cnn.pt", weights.getvalue())
    write_atomically(folder / "model.onnx", describe(model, predictor, facts))
