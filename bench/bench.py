"""Measures training, serving, and the accuracy of the model: Markdown tables.

    python bench/bench.py --seeds 5 --data-dir data/mnist
    python bench/bench.py --model artifacts/model.onnx    # without training

Real MNIST where DATA_DIR has it or MNIST_MIRROR is set, else synthetic digits: the tables
say which. EPOCHS, OMP_NUM_THREADS and WEB_CONCURRENCY have their usual meaning. Without --model,
the model of the first seed is served.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from runner import ROOT, middle, table

# isort: split
from dataset import mnist
from publish import published_metadata


class Run(NamedTuple):
    """One run of train.py: the training loop's and the whole run's seconds, what it published."""

    training: float
    whole: float
    metadata: dict[str, str]


def choose_dataset(data_dir: Path) -> str:
    """Return mnist, downloaded first where MNIST_MIRROR is set, or synthetic where it is not."""
    if os.environ.get("MNIST_MIRROR"):
        mnist(data_dir)  # before the clock runs, so that the download is not taken for training
    return "mnist" if any(data_dir.rglob("t10k-images*")) else "synthetic"


def train(dataset: str, data_dir: Path, output_dir: Path, seed: int) -> Run:
    """Train as a user does, in a process of its own; exit with what it printed when it fails."""
    flags = {"--dataset": dataset, "--data-dir": data_dir, "--output-dir": output_dir}
    flags |= {"--seed": seed, "--min-accuracy": 0}  # a bad model is a result here
    command = [sys.executable, ROOT / "training" / "train.py"]
    command += [str(word) for flag in flags.items() for word in flag]
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True)
    whole = time.perf_counter() - started
    if process.returncode:
        printed = process.stdout + process.stderr
        sys.exit(f"bench: train.py ended with {process.returncode}:\n{printed}")
    epochs = re.findall(r"^epoch .* ([\d.]+) s$", process.stdout, re.MULTILINE)
    return Run(float(epochs[-1]), whole, published_metadata(output_dir / "model.onnx"))


def training_table(runs: list[Run]) -> str:
    """A row for each run, and one with the median (min to max)."""
    recipe = json.loads(runs[0].metadata["recipe"])
    trained_on = runs[0].metadata["trained_on"]
    title = f"training, {recipe['dataset']}, epochs: {recipe['epochs']}, {trained_on}"
    columns = (
        ([run.training for run in runs], ".1f"),
        ([run.whole for run in runs], ".1f"),
        ([float(run.metadata["held_out_accuracy"]) for run in runs], ".2%"),
        ([float(run.metadata["test_accuracy"]) for run in runs], ".2%"),
    )
    rows = [
        [f"seed {seed}", *(format(values[seed], form) for values, form in columns)]
        for seed in range(len(runs))
    ]
    rows.append(["median", *(middle(values, form) for values, form in columns)])
    heads = [title, "training loop s", "whole run s", "held-out accuracy", "test accuracy"]
    return table(heads, rows)


def run(program: str, *words: object) -> None:
    """Run another program of the project, which prints its tables; exit as it does if it fails."""
    command = [sys.executable, ROOT / program, *map(str, words)]
    if code := subprocess.run(command).returncode:
        sys.exit(code)


def main() -> None:
    """Print the tables, each as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many models are trained (5)")
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data" / "mnist")
    parser.add_argument("--model", type=Path, help="measure this model instead of training some")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    if options.model and not options.model.exists():
        parser.error(f"there is no model at {options.model}: train one first")
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"{os.cpu_count()} CPUs, load {load} before, Python {platform.python_version()}\n")
    dataset, data_dir = choose_dataset(options.data_dir), options.data_dir
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(seed) for seed in range(options.seeds)]
        model = options.model or folders[0] / "model.onnx"
        if not options.model:
            runs = [train(dataset, data_dir, folder, seed) for seed, folder in enumerate(folders)]
            print(training_table(runs) + "\n", flush=True)
        run("bench/bench_serving.py", model)
        run("bench/bench_health.py")
        if dataset == "mnist":
            run("training/evaluate.py", model, "--data-dir", data_dir)
        run("bench/bench_reading.py", model, "--half", "report")


if __name__ == "__main__":
    main()
