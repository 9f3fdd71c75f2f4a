"""Measures training with one rank against two ranks, each with one thread, in alternating rounds.

    python bench/bench_ranks.py --rounds 5 --seconds 4

Prints images per second, the bytes of the gradients, and the time to average them between the
ranks. The images are random, because only the speed matters.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("training", "tests")]

import ranks
import torch
import torch.distributed as dist
from dataset import Dataset
from model import RECIPES, build
from ports import free_port
from tables import middle, table
from train import batch_loss


def measure(seconds: float) -> dict[str, float]:
    """As a rank: train for a while; returns images per second and the cost of communication."""
    recipe, device = RECIPES["default"], torch.device("cpu")
    images = torch.randint(256, (ranks.share(recipe.batch), 28, 28), dtype=torch.uint8)
    labels, chosen = torch.randint(10, (len(images),)), torch.arange(len(images))
    data = Dataset(*(images, labels) * 4, images)
    with ranks.joined(device):
        network, sgd = build(recipe, 0, device)
        parallel = ranks.parallel(network.train())
        steps, started = -5, 0.0
        while True:  # the first five steps are not counted
            steps += 1
            if steps == 0:
                started = time.monotonic()
            sgd.zero_grad()
            batch_loss(parallel, data, chosen, recipe, max(steps, 0), 100_000).backward()
            sgd.step()
            # Rank 0 decides when to stop, in the way in which train.py agrees on a signal.
            late = steps > 0 and time.monotonic() - started > seconds
            if ranks.any_signal([int(late and ranks.rank() == 0)], device):
                break
        rate = steps * recipe.batch / (time.monotonic() - started)
        gradients = torch.cat([p.grad.flatten() for p in network.parameters()])
        return {"rate": rate, "bytes": gradients.nbytes, "ms": milliseconds_to_average(gradients)}


def milliseconds_to_average(tensor: torch.Tensor) -> float:
    """The median time of averaging a tensor over the ranks; 0 for one rank."""
    times = []
    for _ in range(100 if ranks.world_size() > 1 else 0):
        dist.barrier()
        started = time.perf_counter()
        ranks.average([tensor])
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times) if times else 0.0


def run_ranks(count: int, seconds: float) -> dict[str, float]:
    """Start `count` ranks on this machine; returns what rank 0 has measured."""
    common = {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--as-rank", "--seconds", str(seconds)],
            env=os.environ | common | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("bench_ranks: a rank has failed")
    return json.loads(outputs[0])


def main() -> None:
    """Print the table of all rounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        print(json.dumps(measure(options.seconds)))
        return
    rounds = [[run_ranks(n, options.seconds) for n in (1, 2)] for _ in range(options.rounds)]
    one, two = ([pair[place] for pair in rounds] for place in (0, 1))
    rows = [
        ["1 rank", middle([r["rate"] for r in one], ".0f"), "1", ""],
        [
            "2 ranks",
            middle([r["rate"] for r in two], ".0f"),
            middle([b["rate"] / a["rate"] for a, b in rounds], ".2f"),
            middle([r["ms"] for r in two], ".2f"),
        ],
    ]
    print(f"{two[0]['bytes']} bytes of gradients in each step; one thread for each rank\n")
    print(table(["", "images/s", "speed-up", "ms to average the gradients"], rows))


if __name__ == "__main__":
    main()
