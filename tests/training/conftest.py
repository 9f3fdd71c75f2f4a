"""Trainings in the process of the tests: train.py's main with nothing set from outside."""

from collections.abc import Callable

import pytest
import torch
import train
from small_training import small_data
from training_runs import OPTIONS

# The weights depend on the number of threads; start_training() uses one as well.
torch.set_num_threads(1)


@pytest.fixture
def main(monkeypatch) -> Callable[..., int]:
    """main(*flags): train.main in this process, with nothing set from outside; its exit code."""
    for name in OPTIONS:
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
