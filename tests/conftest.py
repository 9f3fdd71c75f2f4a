"""What several test files share: models trained by the real script, and a real server.

Real MNIST is used where it can be had locally: archives in data/mnist, or MNIST_MIRROR.
"""

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

# Before onnxruntime is imported anywhere: it would report each process to its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import mnist
import numpy as np
import pytest
import train
from gunicorn_server import Server, running, running_one_worker

ROOT = Path(__file__).resolve().parent.parent
TRAINING_VARIABLES = {
    *("DATASET", "DATA_DIR", "OUTPUT_DIR", "EPOCHS", "SEED", "MIN_ACCURACY", "MNIST_MIRROR")
}


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as a gzipped IDX file, as MNIST's archives are."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def start_training(folder: Path, *flags: str) -> subprocess.Popen:
    """train.py into `folder`, in a process of its own, with nothing set from outside."""
    inherited = {name: text for name, text in os.environ.items() if name not in TRAINING_VARIABLES}
    return subprocess.Popen(
        [sys.executable, ROOT / "training" / "train.py", "--output-dir", folder, *flags],
        env=inherited,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def trained(folder: Path, *flags: str) -> Path:
    """The model.onnx that a run of train.py with these flags publishes in `folder`."""
    process = start_training(folder, *flags)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    return folder / "model.onnx"


@pytest.fixture
def main(monkeypatch) -> Iterator[Callable[..., int]]:
    """main(*flags): train.main() in this process, with nothing set from outside; its exit code."""
    for name in TRAINING_VARIABLES - {"MNIST_MIRROR"}:
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in train.ENDING_SIGNALS}

    def run(*flags: str) -> int:
        monkeypatch.setattr("sys.argv", ["train.py", *flags])
        return train.main()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    """A small real model, trained on synthetic digits."""
    return trained(tmp_path_factory.mktemp("model"), "--dataset", "synthetic", "--epochs", "1")


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory) -> Path:
    """A folder with MNIST's archives; skips where they are not to be had locally."""
    folder = ROOT / "data" / "mnist"
    if os.environ.get("MNIST_MIRROR"):
        folder = tmp_path_factory.mktemp("mnist")
        mnist.ensure_archives(folder)
    elif not all((folder / name).exists() for name in mnist.ARCHIVES):
        pytest.skip("no MNIST: neither MNIST_MIRROR is set nor are its archives in data/mnist")
    return folder


@pytest.fixture(scope="session")
def mnist_model_file(mnist_dir, tmp_path_factory) -> Path:
    """The default recipe in a short version, two epochs of real MNIST."""
    folder = tmp_path_factory.mktemp("mnist-model")
    return trained(folder, "--data-dir", str(mnist_dir), "--epochs", "2")


@pytest.fixture(scope="session")
def serve(tmp_path_factory) -> Callable[[Path], AbstractContextManager[str]]:
    """serve(model_path) runs the real server for the length of a with block; gives its URL."""

    @contextmanager
    def serve(model_path: Path) -> Iterator[str]:
        with running(tmp_path_factory.mktemp("server"), MODEL_PATH=str(model_path)) as server:
            yield server.url

    return serve


@pytest.fixture(scope="session")
def server(serve, model_file) -> Iterator[str]:
    """The URL of a real server with the model of `model_file`."""
    with serve(model_file) as url:
        yield url


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Server]]:
    """start(*lines) runs one worker with the server's settings and then these lines."""
    with ExitStack() as stack:
        yield lambda *lines: stack.enter_context(running_one_worker(tmp_path, *lines))
