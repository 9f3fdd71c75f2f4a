"""What several test files share: models trained by the real script, and a real server.

Real MNIST is used where it can be had locally: in data/mnist, or from MNIST_MIRROR.
"""

import fcntl
import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

# Before onnxruntime is imported anywhere: it would send telemetry.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import dataset
import numpy as np
import pytest
import torch
import train
from app import create_app
from flask.testing import FlaskClient
from gunicorn_server import Server, running, running_tiny
from pen import chromium, find_chromium
from playwright.sync_api import Browser, Page
from small_training import small_data
from tiny_model import write_model
from torchvision.datasets import MNIST

# The weights depend on the number of threads; start_training() uses one as well.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
TRAIN = ROOT / "training" / "train.py"
TRAINING_VARIABLES = {
    *("CORRECTIONS", "DATASET", "DATA_DIR", "EPOCHS", "MIN_ACCURACY", "MNIST_MIRROR"),
    *("OUTPUT_DIR", "PREVIOUS", "RECIPE", "REPLACE", "SEED"),
}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter) -> Iterator[None]:
    """Say in one sentence, at the end, what the skipped tests need."""
    yield
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    needs = sorted({reason.partition("needs ")[2] for reason in skipped} - {""})
    if needs:
        terminalreporter.write_line(
            f"The {len(skipped)} skipped tests are run with {'; and with '.join(needs)}."
        )


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as a gzipped IDX file, as MNIST's archives are."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def save_archives(
    folder: Path, arrays: Sequence[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Write MNIST's four archives with other content to `folder`, and expect their checksums."""
    resources = []
    for (name, _), array in zip(MNIST.resources, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
        resources.append((name, dataset.md5_of(idx(array))))
    monkeypatch.setattr(MNIST, "resources", resources)
    return folder


def run_program(*words: str | Path, **options) -> subprocess.CompletedProcess:
    """Run a program in the root of the repository, or in cwd, and return what it printed."""
    options = {"cwd": ROOT, "capture_output": True, "text": True} | options
    return subprocess.run(words, check=False, **options)


def executable(path: Path, script: str) -> Path:
    """Write a program that stands in for a real one."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def training_environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of train.py, with one thread, and `variables`."""
    inherited = {name: text for name, text in os.environ.items() if name not in TRAINING_VARIABLES}
    return {**inherited, "OMP_NUM_THREADS": "1", **variables}


def start_training(
    folder: Path, *flags: str, script: Path = TRAIN, **variables: str
) -> subprocess.Popen:
    """Start train.py with training_environment(), to publish in `folder`."""
    return subprocess.Popen(
        [sys.executable, script, "--output-dir", folder, *flags],
        env=training_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder of this test run, which has a process for each core under `make test`."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of the test run out of a with block."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def trained(folder: Path, *flags: str) -> Path:
    """The model.onnx that one run of train.py with these flags publishes in `folder`."""
    model = folder / "model.onnx"
    with locked(folder.with_suffix(".lock")):
        if not model.exists():
            process = start_training(folder, *flags)
            output = process.communicate()[0]
            assert process.returncode == 0, output
    return model


@pytest.fixture
def main(monkeypatch) -> Callable[..., int]:
    """main(*flags): train.main in this process, with nothing set from outside; its exit code."""
    for name in TRAINING_VARIABLES - {"MNIST_MIRROR"}:
        monkeypatch.delenv(name, raising=False)

    def run(*flags: str) -> int:
        with pytest.raises(SystemExit) as exited:
            train.main(flags, "train.py")
        return exited.value.code

    return run


@pytest.fixture
def train_small(main, monkeypatch, tmp_path):
    """train_small(*flags) is main() on small_data, into tmp_path / "out"; gives the exit code."""
    monkeypatch.setattr(train, "load_dataset", small_data)
    flags = ("--output-dir", str(tmp_path / "out"), "--epochs", "2", "--min-accuracy", "0")
    return lambda *more: main(*flags, *more)


def weights(folder):
    return torch.load(folder / "mnist_cnn.pt", weights_only=True)["network"]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="session")
def model_file(shared_folder) -> Path:
    """A small real model, trained on synthetic digits."""
    return trained(shared_folder / "model", "--dataset", "synthetic", "--epochs", "1")


@pytest.fixture(scope="session")
def mnist_dir(shared_folder) -> Path:
    """A folder with MNIST; skips where it is not to be had locally."""
    folder = ROOT / "data" / "mnist"
    if os.environ.get("MNIST_MIRROR"):
        folder = shared_folder / "mnist"
        dataset.mnist(folder)
    elif not any(folder.rglob("t10k-images*")):
        pytest.skip("needs MNIST_MIRROR, or MNIST in data/mnist")
    return folder


@pytest.fixture(scope="session")
def mnist_model_file(mnist_dir, shared_folder) -> Path:
    """The default recipe in a short version, two epochs of real MNIST."""
    return trained(shared_folder / "mnist-model", "--data-dir", str(mnist_dir), "--epochs", "2")


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


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory) -> Iterator[Server]:
    """A real server with two workers and a model of tiny_model.py, which no request may end."""
    with running_tiny(tmp_path_factory.mktemp("server"), WEB_CONCURRENCY="2") as server:
        yield server
        assert len(server.workers()) == 2
        assert "Traceback" not in server.read_log()


@pytest.fixture
def model_path(tmp_path) -> Path:
    """The path of a model of tiny_model.py."""
    return write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")


@pytest.fixture
def client(model_path) -> FlaskClient:
    """Flask's test client of the server with the model of `model_path`."""
    return create_app(model_path).test_client()


# Not for the whole session: Playwright keeps an event loop running, which disturbs other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium. Without one, the tests that use it fail in CI and skip elsewhere."""
    if not find_chromium():
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("needs Chromium, from the package chromium or named by CHROMIUM")
    with chromium() as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    """What the pages of a test must not do: errors, CSP violations, requests to other servers."""
    return []


@pytest.fixture
def open_page(browser, problems) -> Iterator[Callable[..., Page]]:
    """open_page(url, **options) opens the page in a new context; the test fails on `problems`."""
    contexts = []
    # Chromium reports each 4xx and 5xx on the console, and some tests provoke them.
    expected = ["data:", "blob:", "Failed to load resource: the server responded with a status of"]

    def open_page(url: str, **options) -> Page:
        expected.append("/".join(url.split("/")[:3]) + "/")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event =>"
            " console.error('CSP violation:', event.violatedDirective, event.blockedURI))"
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.on("request", lambda request: problems.append(request.url))
        # Without a listener from the start, a dialog can open before Playwright looks for it.
        page.on("filechooser", lambda chooser: None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not problem.startswith(tuple(expected))] == []


@pytest.fixture
def page(open_page, server) -> Page:
    """The page of `server`, in a window of the default size."""
    return open_page(server)
