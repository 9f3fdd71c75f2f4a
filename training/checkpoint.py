"""checkpoint.pt: what an interrupted training needs to end as if it had never stopped."""

import io
import pickle
from pathlib import Path

import torch
from files import write_atomically
from torch import nn


def save(path: Path, run: str, step: int, network: nn.Module, sgd: torch.optim.Optimizer) -> None:
    """Keep weights, momentum and step; `run` names the options that the weights depend on."""
    buffer = io.BytesIO()
    state = {"run": run, "step": step, "network": network.state_dict(), "sgd": sgd.state_dict()}
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def resume(path: Path, run: str, network: nn.Module, sgd: torch.optim.Optimizer) -> int:
    """Load the state into network and optimizer; the step to go on from, 0 when there is none."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["run"] == run:
            network.load_state_dict(state["network"])
            sgd.load_state_dict(state["sgd"])
            return state["step"]
        problem = "belongs to a run with other options"
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError):
        problem = "cannot be read"
    print(f"{path} {problem}: training from the start", flush=True)
    return 0
