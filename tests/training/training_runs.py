"""Runs of train.py as a process, and what they leave behind: trained(folder, "--epochs", "1")."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import train
from archives import mirror_variable
from dataset import DATASETS
from programs import ROOT

TRAIN = ROOT / "training" / "train.py"
# Of the options of train.py; mirrors have none.
OPTIONS = {option.envvar for option in train.main.params if option.envvar}
TRAINING_VARIABLES = OPTIONS | {mirror_variable(name) for name in DATASETS}


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


def weights(folder):
    return torch.load(folder / "mnist_cnn.pt", weights_only=True)["network"]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)
