"""Several processes, called ranks, that train one model together (DistributedDataParallel).

    torchrun --nproc-per-node 2 training/train.py

torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for the processes that it starts. Where
each Pod has one rank, the manifest sets them. Without these variables there is one rank.
"""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import click
import torch
import torch.distributed as dist
from process import Failure
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)  # rank 0 may have to be scheduled, or wait for the output folder
SMALLEST_SHARE = 16  # images: BatchNorm uses the mean and variance of a rank's share


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process. Rank 0 prints, writes checkpoints and publishes."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def share(count: int) -> int:
    """How many of `count` things belong to this rank."""
    return len(range(rank(), count, world_size()))


def choose_device() -> torch.device:
    """The GPU for this rank, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def check_share(batch: int) -> None:
    """Raise UsageError if a rank's share of the batch is too small for BatchNorm."""
    count = world_size()
    if count > 1 and batch // count < SMALLEST_SHARE:
        raise click.UsageError(
            f"{count} ranks share batches of {batch} images, but each needs {SMALLEST_SHARE}: "
            f"use at most {batch // SMALLEST_SHARE} ranks"
        )


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Connect the ranks inside the block, which ends when it has ended in all of them.

    Raises Failure if another rank does not answer or has vanished, which retrying can fix.
    """
    if world_size() == 1:
        yield
        return
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        # In a thread, because signals are only handled while the main thread waits in Python.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(dist.init_process_group, backend, timeout=TIMEOUT).result()
        yield
        dist.barrier()
    except RuntimeError as error:
        # Gloo raises a plain RuntimeError, which is also how torch reports mistakes in a program.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        problem = f"rank {rank()} has lost another rank: {str(error).splitlines()[0]}"
        raise Failure(problem, os.EX_TEMPFAIL) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        # A thread of gloo takes Python's lock to release the tensor of the last operation, and
        # aborts the process ("terminate called without an active exception") if Python ends first.
        time.sleep(0.1)


def check_same_run(run: str) -> None:
    """Raise UsageError if this rank's options or code, which `run` names, are not rank 0's."""
    if from_rank_0(run) != run:
        raise click.UsageError(f"rank {rank()} has other options or other code than rank 0")


def from_rank_0(value: object) -> object:
    """Rank 0's value, on all ranks."""
    content = [value]
    if world_size() > 1:
        dist.broadcast_object_list(content)
    return content[0]


def parallel(network: nn.Module) -> nn.Module:
    """The network to call in training: its gradients become their mean over the ranks."""
    if world_size() == 1:
        return network
    return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace float tensors by their mean over the ranks."""
    if world_size() > 1:
        for tensor in tensors:
            if tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= world_size()


def any_signal(received: list[int], device: torch.device) -> int:
    """The largest signal number that any rank has received, 0 for none."""
    largest = torch.tensor(max(received, default=0), device=device)
    if world_size() > 1:
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)
