"""Kills training at random moments while a reader polls the model (make soak).

python tests/stress/soak_training.py --kills 30

Two trainings with different seeds take turns in one folder. Each is killed with SIGKILL or SIGTERM
and started again, until it finishes and publishes. The reader must always find a complete model of
one of the two, and the weights must be those of a training that nobody interrupted. Prints what
happened, and exits with 1 if something else was found.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

FOLDERS = ("training", "tests", "tests/training", "tests/inference")
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in FOLDERS]
import numpy as np  # noqa: E402
from evaluate import onnxruntime  # noqa: E402
from training_runs import SMALL_TRAINING, read_until, start_training  # noqa: E402

FLAGS = ("--dataset", "synthetic", "--epochs", "4", "--min-accuracy", "0")
SEEDS = (0, 1)


def start(folder: Path, seed: int) -> subprocess.Popen:
    """Start a training that publishes in `folder`."""
    return start_training(folder, *FLAGS, "--seed", str(seed), script=SMALL_TRAINING)


def version_of(content: bytes) -> str:
    """The version in the metadata of a model file that onnxruntime can run on an image."""
    session = onnxruntime.InferenceSession(content)
    probabilities = session.run(None, {"image": np.zeros((1, 28, 28), np.uint8)})[0]
    if probabilities.shape != (1, 10):
        return f"output of shape {probabilities.shape}"
    return session.get_modelmeta().custom_metadata_map["model_version"]


def watch(stopped: threading.Event, model: Path, seen: Counter) -> None:
    """Read the model again and again, and count the versions and the errors."""
    while not stopped.is_set():
        try:
            seen[version_of(model.read_bytes())] += 1
        except Exception as error:  # whatever the reader would have failed with
            seen[f"{type(error).__name__}: {error}"] += 1
        time.sleep(0.01)


def train_uninterrupted(folder: Path, seed: int) -> tuple[str, bytes, tuple[float, float]]:
    """Train once; the version, the content of mnist_cnn.pt, and how long the two parts took.

    The parts are the start of the process until training begins, and the rest, in seconds.
    """
    started = time.monotonic()
    process = start(folder, seed)
    read_until(process, "training on")
    began = time.monotonic()
    output = process.communicate()[0]
    if process.returncode:
        sys.exit(f"the training failed without being killed:\n{output}")
    durations = began - started, time.monotonic() - began
    version = version_of((folder / "model.onnx").read_bytes())
    return version, (folder / "mnist_cnn.pt").read_bytes(), durations


def train_and_kill(folder: Path, seed: int, durations: tuple[float, float]) -> str:
    """Start a training, kill it at a random moment; what happened, in words."""
    process = start(folder, seed)
    during_start = random.random() < 0.1
    if not during_start:
        read_until(process, "training on")
    time.sleep(random.uniform(0, durations[0] if during_start else durations[1]))
    number = random.choice((signal.SIGKILL, signal.SIGTERM))
    process.send_signal(number)  # does nothing if the process has ended
    output = process.communicate()[0]
    if process.returncode == 0:
        return "finished"
    expected = {-number} if number == signal.SIGKILL else {128 + number}
    if during_start or "published in" in output:
        expected.add(-number)  # Python's handlers are not installed yet, or already removed
    if process.returncode not in expected:
        return f"exit code {process.returncode} after {number.name}:\n{output}"
    return f"{number.name} {'while starting' if during_start else 'while training or publishing'}"


def soak(kills: int, folder: Path) -> tuple[Counter, Counter, list[str]]:
    """What happened to the trainings, what the reader saw, and what must not have happened."""
    runs = {}
    for seed in SEEDS:
        (folder / str(seed)).mkdir()
        runs[seed] = train_uninterrupted(folder / str(seed), seed)
    shared = folder / "shared"
    shutil.copytree(folder / str(SEEDS[0]), shared)
    happened, seen, wrong = Counter(), Counter(), []
    stopped = threading.Event()
    reader = threading.Thread(target=watch, args=(stopped, shared / "model.onnx", seen))
    reader.start()
    turn = 1
    while happened.total() - happened["finished"] < kills:
        seed = SEEDS[turn % len(SEEDS)]
        version, weights, durations = runs[seed]
        outcome = train_and_kill(shared, seed, durations)
        happened[outcome] += 1
        print(outcome, flush=True)
        if outcome.startswith("exit code"):
            wrong.append(outcome)
        if outcome == "finished":
            turn += 1
            if (shared / "mnist_cnn.pt").read_bytes() != weights:
                wrong.append(f"seed {seed}: other weights than those of an uninterrupted run")
            if version_of((shared / "model.onnx").read_bytes()) != version:
                wrong.append(f"seed {seed}: the model is not the one of these weights")
    seed = SEEDS[turn % len(SEEDS)]
    if train_uninterrupted(shared, seed)[:2] != runs[seed][:2]:
        wrong.append(f"seed {seed}: the last run has other weights than an uninterrupted one")
    stopped.set()
    reader.join()
    leftovers = {path.name for path in shared.iterdir()} - {".lock"}
    leftovers -= {"mnist_cnn.pt", "model.onnx", "model.previous.onnx"}
    leftovers -= {"metrics.jsonl", "curves.png", "confusion.png", "mistakes.png"}
    wrong += [f"left behind: {name}" for name in sorted(leftovers)]
    versions = {version for version, _, _ in runs.values()}
    wrong += [f"the reader saw {text}" for text in seen if text not in versions]
    return happened, seen, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, help="of the random moments; random by default")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 30) if arguments.seed is None else arguments.seed
    random.seed(seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        happened, seen, wrong = soak(arguments.kills, Path(folder))
    print(f"seed {seed}, {time.monotonic() - started:.0f} s")
    for outcome, count in sorted(happened.items()):
        print(f"{count:6} {outcome}")
    print(f"{seen.total():6} reads of the model, versions: {dict(seen)}")
    for problem in wrong:
        print(f"WRONG: {problem}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
