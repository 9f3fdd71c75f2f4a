"""From 28x28 to probabilities: load the model file, run it, and reload it when it is replaced.

model = Classifier(path).current()   probabilities = classify_in_batches(model, images)

Everything the server knows about the network is inside model.onnx, which training replaces by
renaming: uint8 [N, 28, 28] in, float32 probabilities [N, 10] out, and strings as metadata, which
docs/your-own-model.md lists.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import metrics
import numpy as np
from web.background import in_background

# onnxruntime sends telemetry and keeps a device id in the home directory, unless this is set before
# it is imported (Privacy.md of onnxruntime 1.29, "Disabling Telemetry").
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

# gunicorn's own log, so that a line about the model carries the time and the worker's pid.
log = logging.getLogger("gunicorn.error")


# A batch of BATCH images takes about 10 ms and 7 MB; up to FEW images are classified at once.
BATCH = 64
FEW = 8
READINGS = ("digit", "whole")


class ModelError(ValueError):
    """The file is not a model that this server can run; the message says why."""


class Model(NamedTuple):
    """A model that passed a trial run, the metadata in its file, and when it was loaded (s).

    classes has ten names, or none for digits.
    """

    session: onnxruntime.InferenceSession
    metadata: dict[str, str]
    classes: list[str]
    loaded_at: float

    @property
    def version(self) -> str:
        return self.metadata["model_version"]

    @property
    def dataset(self) -> str:
        return self.metadata.get("dataset", "unknown")

    @property
    def reads_whole(self) -> bool:
        """Whether /predict gives it whole pictures instead of the digits on them."""
        return self.metadata.get("reading") == "whole"


def classify_in_batches(model: Model, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probabilities, float32 [N, 10], of N images uint8 [28, 28], white on black.

    They go through the model in batches, which bounds the memory of its activations, and more than
    a few in the background thread.
    """
    if not len(images):
        return np.empty((0, 10), np.float32)
    if len(images) <= FEW:
        return classify_batch(model, np.asarray(images))
    batches = (np.asarray(images[at : at + BATCH]) for at in range(0, len(images), BATCH))
    return np.concatenate([in_background(classify_batch, model, batch) for batch in batches])


def classify_batch(model: Model, images: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32 [N, 10], of one batch, uint8 [N, 28, 28]."""
    return model.session.run(["probabilities"], {"image": images})[0]


def read_model(data: bytes) -> Model:
    """Build a model from the bytes of an ONNX file and try it. Raises ModelError."""
    options = onnxruntime.SessionOptions()
    # The workers are the unit of parallelism: more threads would only compete with them.
    options.intra_op_num_threads = 1
    # The arena would keep the memory of the largest batch, and gains nothing on a small network.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # Errors are raised, and logged once by the caller.
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base.
        raise ModelError(f"onnxruntime cannot load it: {first_line(error)}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    model = Model(session, metadata, read_classes(metadata), time.time())
    check_interface(model)
    check_trial_run(model)
    return model


def read_classes(metadata: dict[str, str]) -> list[str]:
    """Return the names of a model's classes, none for digits. Raises ModelError."""
    if "classes" not in metadata:
        return []
    try:
        classes = json.loads(metadata["classes"])
    except (ValueError, RecursionError):
        classes = None
    fits = isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)
    if not fits or len(classes) != 10 or len(set(classes)) != 10:
        raise ModelError("the classes in its metadata must be a JSON list of ten different names")
    return classes


def check_interface(model: Model) -> None:
    """Raise ModelError unless names, types, shapes and metadata are those this server expects."""
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
            raise ModelError(f"its {what} must be {name} {kind} {['N', *shape]}, not {listed}")
    if not model.metadata.get("model_version"):
        raise ModelError("its metadata has no model_version")
    if (reading := model.metadata.get("reading", "digit")) not in READINGS:
        raise ModelError(f"the reading in its metadata must be digit or whole, not {reading!r}")


def check_trial_run(model: Model) -> None:
    """Raise ModelError unless a blank and a full image get two rows of probabilities."""
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    try:
        rows = classify_batch(model, images)
    except Exception as error:  # onnxruntime's exceptions have no other common base.
        raise ModelError(f"it fails on a trial run: {first_line(error)}") from error
    if rows.shape != (2, 10) or not np.allclose(rows.sum(axis=1), 1, atol=1e-3) or rows.min() < 0:
        raise ModelError("its output on a trial run is not probabilities of ten classes")


def first_line(error: Exception) -> str:
    """Return the first line of the message of an exception, for a log line or a response."""
    return str(error).partition("\n")[0]


def file_signature(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return values of which one changes when a file is replaced, rewritten or made readable."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class Classifier:
    """The model at a path, checked for changes on each use.

    `problem` says, for the client, why `current()` is None. Once there is a model there always is
    one: if its file disappears or is replaced by a broken one, the old model goes on serving.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem = ""
        self._model: Model | None = None
        self._seen: tuple[int, ...] | None = None
        self._lock = threading.Lock()

    def current(self) -> Model | None:
        """Return the model to use now, after loading it if the file has changed."""
        try:
            signature = file_signature(os.stat(self.path))
            if signature != self._seen:
                with self._lock:
                    if signature != self._seen:
                        self._load()
        except FileNotFoundError as error:
            self._report(
                f"There is no model at {self.path} ({error.strerror}). Train one (make run, or a "
                "training Pod with the same volume): it is loaded automatically."
            )
        except OSError as error:
            # Not remembered in _seen: the next request tries again.
            self._report(f"The model at {self.path} cannot be read now: {error.strerror}.")
        return self._model

    def _load(self) -> None:
        with open(self.path, "rb") as file:
            # Taken before the bytes, so that a write during the read shows as another change.
            signature = file_signature(os.fstat(file.fileno()))
            data = file.read()
        try:
            model = read_model(data)
        except ModelError as error:
            metrics.MODEL_REJECTIONS.inc()
            serving = self._model.version if self._model else "no model"
            log.error("rejected %s: %s; still serving %s", self.path, error, serving)
            self.problem = f"The model at {self.path} was rejected: {error}. Train it again."
        else:
            metrics.MODEL_LOADS.inc()
            log.info("serving model %s from %s", model.version, self.path)
            if self._model and self._model.dataset != model.dataset:
                datasets = self._model.dataset, model.dataset
                log.warning("the dataset has changed from %s to %s", *datasets)
            self._model, self.problem = model, ""
        self._seen = signature

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.warning(problem)
        self.problem = problem
