"""Measures a training step next to busy processes, with and without training/neighbours.py.

    python tests/bench_neighbours.py --rounds 3

Prints the mean milliseconds of a step as a table; a round takes about 35 s.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tables import middle, table

TRAINING = Path(__file__).resolve().parent.parent / "training"
sys.path.insert(0, str(TRAINING))
from threads import available_cpus  # noqa: E402

# Prints the mean milliseconds of a training step.
STEPS = """
import sys, time
import optimization, torch, train
from neighbours import Neighbours
from recipes import RECIPES
recipe, neighbours, device = RECIPES["default"], Neighbours(), torch.device("cpu")
network, sgd = optimization.build(recipe, 0, device)
images, labels = torch.zeros(128, 28, 28, dtype=torch.uint8), torch.zeros(128, dtype=torch.long)
begun, steps = time.monotonic(), 0
while time.monotonic() < begun + 5:
    train.take_step(network, sgd, (images, labels, images), recipe, steps, 100_000)
    if sys.argv[1] == "with":
        neighbours.check()
    steps += 1
print(1000 * (time.monotonic() - begun) / steps)
"""


@contextmanager
def busy_loops(count: int) -> Iterator[list[subprocess.Popen]]:
    """`count` processes that use all the CPU time they can get, until the block ends."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def step_milliseconds(mode: str) -> float:
    """The mean of five seconds of steps; `mode` is "with" or "without" neighbours.py."""
    command = [sys.executable, "-c", STEPS, mode]
    environment = os.environ | {"PYTHONPATH": str(TRAINING)}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(output.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows = []
    for count in (0, available_cpus()):
        found = {"with": [], "without": []}
        with busy_loops(count):
            for _ in range(rounds):
                for mode, values in found.items():
                    values.append(step_milliseconds(mode))
        row = f"next to {count} busy loops" if count else "no other process"
        rows.append([row, *(middle(values, ".1f") for values in found.values())])
    print(table(["mean ms of a step", "with", "without"], rows))


if __name__ == "__main__":
    main()
