"""What the tests of several folders share: models that the real script trains, once for each run.

Real MNIST is used where it can be had locally: in data/mnist, or from MNIST_MIRROR.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import ROOT

# Before onnxruntime is imported anywhere: it would send telemetry.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


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


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder of this test run, which has a process for each core under `make test`."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def trained(folder: Path, *flags: str) -> Path:
    """The model.onnx that one run of train.py with these flags publishes in `folder`."""
    import training_runs  # Tests of YAML or of pages do without torch.

    return training_runs.trained(folder, *flags)


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
        import dataset

        dataset.mnist(folder)
    elif not any(folder.rglob("t10k-images*")):
        pytest.skip("needs MNIST_MIRROR, or MNIST in data/mnist")
    return folder


@pytest.fixture(scope="session")
def mnist_model_file(mnist_dir, shared_folder) -> Path:
    """The default recipe in a short version, two epochs of real MNIST."""
    return trained(shared_folder / "mnist-model", "--data-dir", str(mnist_dir), "--epochs", "2")
