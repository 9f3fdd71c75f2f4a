"""Checkpoints, from which an interrupted run continues as if it had never stopped."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from distributed import rank
from files import write_atomically
from torch import nn

# All code that decides what the weights become; the recipe is among the options. publish.py and the
# plots come afterwards.
SOURCES = (
    "train.py",
    "dataset.py",
    "corrections.py",
    "devices.py",
    "distributed.py",
    "network.py",
    "augment.py",
    "optimization.py",
    "drawing/*.py",
)

Build = Callable[[], tuple[nn.Module, torch.optim.Optimizer]]


def run_id(options: dict[str, object]) -> str:
    """Twelve hex digits for a run: its options, the training code and the version of torch."""
    digest = hashlib.sha256(json.dumps([options, torch.__version__], sort_keys=True).encode())
    folder = Path(__file__).parent
    for pattern in SOURCES:
        for path in sorted(folder.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def path_of(folder: Path, run: str) -> Path:
    """The checkpoint of a run; its name contains the run, so runs never overwrite each other."""
    return folder / f"checkpoint-{run}.pt"


def save(
    path: Path, step: int, network: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]
) -> None:
    """Store the state after `step` steps, and the metrics of the epochs so far; raises OSError.

    Only rank 0 does so: the state is the same in all ranks.
    """
    if rank() > 0:
        return
    buffer = io.BytesIO()
    state = {"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "history": history}, buffer)
    write_atomically(path, buffer.getvalue())


def resume(
    path: Path, build: Build
) -> tuple[nn.Module, torch.optim.Optimizer, int, list[dict[str, float]]]:
    """The network, the optimizer, the number of steps done and the metrics so far.

    A missing or unusable checkpoint gives what build() returns, zero steps and no metrics.
    """
    if path.exists():
        network, optimizer = build()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            step, history = int(state["step"]), list(state["history"])
            print(f"resuming from {path} after step {step}", flush=True)
            return network, optimizer, step, history
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError):
            print(f"{path} cannot be used: training from the start", flush=True)
    # load_state_dict may have modified part of the first network before it failed.
    return *build(), 0, []


def report_others(folder: Path, path: Path) -> None:
    """Mention the checkpoints of other runs: they are kept, and only their owner can decide."""
    for other in sorted(folder.glob("checkpoint-*.pt")):
        if other != path:
            print(f"keeping {other}, which belongs to a run with other options or code", flush=True)
