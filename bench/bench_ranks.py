"""Measures training with one rank against two ranks, each with one thread, in alternating rounds.

    python bench/bench_ranks.py --rounds 5 --seconds 4

Prints images per second. The images are random, because only the speed matters.
"""

import argparse
import os
import subprocess
import sys
import time

import torch
from runner import middle, table

# isort: split
import ranks
from dataset import Dataset
from model import RECIPES, build
from ports import free_port
from train import batch_loss


def measure(seconds: float) -> float:
    """As a rank: train for a while; returns the images per second of all ranks."""
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
        return steps * recipe.batch / (time.monotonic() - started)


def run_ranks(count: int, seconds: float) -> float:
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
    return float(outputs[0])


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
        print(measure(options.seconds))
        return
    rounds = [[run_ranks(n, options.seconds) for n in (1, 2)] for _ in range(options.rounds)]
    one, two = zip(*rounds, strict=True)
    speed_ups = [after / before for before, after in rounds]
    rows = [
        ["1 rank", middle(one, ".0f"), "1"],
        ["2 ranks", middle(two, ".0f"), middle(speed_ups, ".2f")],
    ]
    print(table(["", "images/s", "speed-up"], rows))


if __name__ == "__main__":
    main()
