"""Several processes, called ranks, that train one model together (DistributedDataParallel).

    torchrun --nproc-per-node 2 training/train.py

torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for the processes that it starts. Where
each Pod has one rank, the manifest sets them and starts train.py directly, because torchrun exits
with 1 whatever the exit code of train.py was. Without these variables there is one rank.
"""

import io
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import click
import torch
import torch.distributed as dist
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)  # rank 0 may have to be scheduled, or wait for the output folder
EXIT_CODE_TIMEOUT = timedelta(seconds=10)  # for the other ranks to read the exit code
# BatchNorm uses the mean and variance of a rank's share. SyncBatchNorm would communicate twice per
# layer and needs GPUs.
SMALLEST_SHARE = 16


class RanksLost(Exception):
    """Another rank has failed. `exit_code` is its own, or EX_TEMPFAIL (75) if it just vanished."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def ranks() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process. Rank 0 prints, evaluates, writes checkpoints and publishes."""
    return int(os.environ["RANK"]) if ranks() > 1 else 0


def share(count: int) -> int:
    """How many of `count` things belong to this rank."""
    return len(range(rank(), count, ranks()))


@contextmanager
def joined(device: torch.device) -> Iterator[dist.Store | None]:
    """Connect the ranks inside the block; the store is where end_all() leaves the exit code.

    Raises RanksLost if the other ranks do not answer, or end while this one needs them.
    """
    if ranks() == 1:
        yield None
        return
    store = None
    try:
        store, _, _ = next(dist.rendezvous("env://", rank(), ranks(), timeout=TIMEOUT))
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=store, rank=rank(), world_size=ranks(), timeout=TIMEOUT
        )
        dist.barrier()  # a rank that failed while others still connect would leave them waiting
        yield store
    except RuntimeError as error:
        # Gloo raises a plain RuntimeError, which is also how torch reports mistakes in a program.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise lost(store, error) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        # A thread of gloo takes Python's lock to release the tensor of the last operation, and
        # aborts the process ("terminate called without an active exception") if Python ends first.
        time.sleep(0.1)


def lost(store: dist.Store | None, error: RuntimeError) -> RanksLost:
    """What to raise after a connection to another rank has failed."""
    try:
        if store and store.check(["exit code"]):
            code = int(store.get("exit code"))
            store.set(f"seen by {rank()}", "")
            if rank() == 0:
                wait_for_others(store)
            return RanksLost(f"rank {rank()} ends because another rank has failed", code)
    except RuntimeError:
        pass  # the store has ended with rank 0
    reason = str(error).splitlines()[0]
    return RanksLost(f"rank {rank()} has lost another rank: {reason}", os.EX_TEMPFAIL)


def end_all(store: dist.Store | None, code: int) -> None:
    """Wait until all ranks have finished, or, if `code` is not 0, make them exit with it."""
    if not store:
        return
    if code == os.EX_OK:
        dist.barrier()
        return
    store.set("exit code", str(code))
    store.set(f"seen by {rank()}", "")
    dist.destroy_process_group()  # interrupts the others, which wait for this rank
    if rank() == 0:
        wait_for_others(store)


def wait_for_others(store: dist.Store) -> None:
    """Keep the store, which ends with rank 0, until the other ranks know the exit code."""
    with suppress(RuntimeError):  # a rank that has vanished will never know it
        store.wait([f"seen by {other}" for other in range(1, ranks())], EXIT_CODE_TIMEOUT)


def check_share(batch: int) -> None:
    """Raise UsageError if a rank's share of the batch is too small for BatchNorm."""
    if ranks() > 1 and batch // ranks() < SMALLEST_SHARE:
        raise click.UsageError(
            f"{ranks()} ranks share batches of {batch} images, but each needs {SMALLEST_SHARE}: "
            f"use at most {batch // SMALLEST_SHARE} ranks"
        )


def start_together(
    run: str, network: nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> int:
    """Give all ranks rank 0's weights, optimizer state and step, which is returned.

    `run` identifies options and code; raises UsageError if this rank's differ from those of rank 0.
    """
    if ranks() == 1:
        return step
    buffer = io.BytesIO()
    torch.save((run, step, network.state_dict(), optimizer.state_dict()), buffer)
    content = io.BytesIO(from_rank_0(buffer.getvalue()))
    run_of_rank_0, step, weights, state = torch.load(content, map_location="cpu", weights_only=True)
    if run_of_rank_0 != run:
        raise click.UsageError(f"rank {rank()} has other options or other code than rank 0")
    network.load_state_dict(weights)
    optimizer.load_state_dict(state)
    return step


def from_rank_0(value: object) -> object:
    """Rank 0's value, on all ranks."""
    content = [value]
    if ranks() > 1:
        dist.broadcast_object_list(content)
    return content[0]


def parallel(network: nn.Module) -> nn.Module:
    """The network to call in training: its gradients become their mean over the ranks."""
    if ranks() == 1:
        return network
    return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace float tensors by their mean over the ranks."""
    if ranks() > 1:
        for tensor in tensors:
            if tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= ranks()


def any_signal(received: list[int], device: torch.device) -> int:
    """The largest signal number that any rank has received, 0 for none."""
    largest = torch.tensor(max(received, default=0), device=device)
    if ranks() > 1:
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)
