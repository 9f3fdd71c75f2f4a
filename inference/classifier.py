"""The model file: read it, check it, run it, and follow it when it is replaced.

Everything the server knows about the network is inside model.onnx, which training publishes by
rename: uint8 [N, 28, 28] in, float32 probabilities [N, 10] out, strings beside them as metadata.
Used by app.py: `Classifier(path).current()` on each request, then `classify(model, images)`.
"""

import logging
import os
import threading
from typing import NamedTuple

import numpy as np

# Since 1.29 onnxruntime reports each process to its makers and keeps a device id in the home
# directory, unless this is set before it is imported (its Privacy.md, Disabling Telemetry).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

# gunicorn's own log, so that a line about the model carries the time and the worker's pid.
log = logging.getLogger("gunicorn.error")


class ModelError(ValueError):
    """The file is not a model that this server can run; the text says why."""


class Model(NamedTuple):
    """A model that has answered a trial run, and the metadata that came inside its file."""

    session: onnxruntime.InferenceSession
    metadata: dict[str, str]


def classify(model: Model, images: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32 [N, 10], of uint8 [N, 28, 28], white digits on black."""
    return model.session.run(["probabilities"], {"image": images})[0]


def read_model(data: bytes) -> Model:
    """Build a model from the bytes of an ONNX file and try it; ModelError if it cannot serve."""
    options = onnxruntime.SessionOptions()
    # Requests are the unit of parallelism: threads inside one would only fight the other workers.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena keeps the largest batch's memory for ever to win nothing on a network this small.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # what goes wrong is raised, and logged once by the caller
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other base in common
        raise ModelError(f"onnxruntime cannot load it: {first_line(error)}") from error
    model = Model(session, session.get_modelmeta().custom_metadata_map)
    check_interface(model)
    check_trial_run(model)
    return model


def check_interface(model: Model) -> None:
    """Raise ModelError unless names, types, shapes and the version are those agreed on."""
    for what, found, name, kind, shape in (
        ("input", model.session.get_inputs(), "image", "tensor(uint8)", [28, 28]),
        ("output", model.session.get_outputs(), "probabilities", "tensor(float)", [10]),
    ):
        fits = (
            len(found) == 1
            and (found[0].name, found[0].type, found[0].shape[1:]) == (name, kind, shape)
            and not isinstance(found[0].shape[0], int)
        )
        if not fits:
            listed = ", ".join(f"{arg.name} {arg.type} {arg.shape}" for arg in found)
            raise ModelError(f"its {what} must be {name} {kind} [N, {str(shape)[1:]}, not {listed}")
    if not model.metadata.get("model_version"):
        raise ModelError("its metadata has no model_version")


def check_trial_run(model: Model) -> None:
    """Raise ModelError unless a blank and a full image get two rows of probabilities."""
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    try:
        rows = classify(model, images)
    except Exception as error:  # onnxruntime's exceptions have no other base in common
        raise ModelError(f"it fails on a trial run: {first_line(error)}") from error
    if rows.shape != (2, 10) or not np.allclose(rows.sum(axis=1), 1, atol=1e-3) or rows.min() < 0:
        raise ModelError("its answers on a trial run are not probabilities of ten digits")


def first_line(error: Exception) -> str:
    """Return what an exception says, cut to its first line: a log line or an answer holds it."""
    return str(error).partition("\n")[0]


def file_signature(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what changes when a file is replaced, rewritten, or made readable."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class Classifier:
    """The model at a path, looked at again on each use; safe to share between threads.

    `problem` says, for the client, why `current()` is None. Once there is a model, there is
    always one: a file that goes away or is replaced by a broken one leaves the old one serving.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem = ""
        self._model: Model | None = None
        self._seen: tuple[int, int, int, int] | None = None
        self._lock = threading.Lock()

    def current(self) -> Model | None:
        """Return the model to use now, reading the file first if it is not the one last seen."""
        try:
            signature = file_signature(os.stat(self.path))
        except OSError as error:
            problem = (
                f"There is no model at {self.path} ({error.strerror}): train one (make run, or a "
                "training Pod with the same volume), and it is picked up by itself."
            )
            if problem != self.problem:
                log.warning(problem)
            self.problem = problem
            return self._model
        if signature != self._seen:
            with self._lock:
                if signature != self._seen:
                    self._read(signature)
        return self._model

    def _read(self, signature: tuple[int, int, int, int]) -> None:
        try:
            with open(self.path, "rb") as file:
                # Taken before the bytes: a write during the read then shows as one more change.
                signature = file_signature(os.fstat(file.fileno()))
                model = read_model(file.read())
        except (OSError, ModelError) as error:
            self.problem = f"The model at {self.path} was refused: {error}. Train it again."
            serving = self._model.metadata["model_version"] if self._model else "no model"
            log.error("refused %s: %s; still serving %s", self.path, error, serving)
        else:
            self._model = model
            log.info("serving model %s from %s", model.metadata["model_version"], self.path)
        self._seen = signature
