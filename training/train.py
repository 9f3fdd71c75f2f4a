"""Trains the digit recogniser and publishes it as one self-describing file, model.onnx.

    python train.py --data-dir data/mnist --output-dir artifacts
    python train.py --dataset synthetic --output-dir artifacts      # nothing to download

Every flag has an environment variable of the same meaning (DATA_DIR for --data-dir), so that a Pod
can set it. A run that SIGTERM ends leaves checkpoint.pt, and the next start goes on from there.

Exit codes: 0 published, 2 usage, 65 the mirrors have wrong data, 69 no mirror answers, 70 the model
is not good enough, 73 the output folder cannot be written, 74 another file fails, 128 + N signal N.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import checkpoint
import dataset
import torch
import torch.nn.functional as F
from augment import augment
from dataset import Dataset
from mnist import DownloadError
from network import build_network, normalise
from non_digits import draw_non_digits
from options import parse_options
from publish import PublishError, publish
from torch import Tensor, nn

RECIPE = {
    "batch": 128,
    "peak_learning_rate": 0.5,
    "warm_up": 0.25,  # of all steps
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "label_smoothing": 0.05,
    "non_digits": 24,  # added to every batch
    # Milder distortions at the end, when the network settles on what clean digits look like (He et
    # al. 2019, Data Augmentation Revisited, section 4).
    "last_share": 0.25,
    "last_strength": 0.6,
}
NON_DIGITS_DRAWN = 4_000
CHECKPOINT = "checkpoint.pt"
DRY_RUN_STEPS = 5
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def learning_rate(step: int, steps: int) -> float:
    """One cycle, up and down in straight lines (Smith and Topin 2018, Super-Convergence)."""
    warm_up = RECIPE["warm_up"] * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return RECIPE["peak_learning_rate"] * share


def batch_loss(
    network: nn.Module, data: Dataset, chosen: Tensor, non_digits: Tensor, strength: float
) -> Tensor:
    """Cross entropy of the training images with indices `chosen`, augmented with `strength`.

    Some of `non_digits` uint8 [M, 28, 28] go with them, to be answered with ten equal probabilities
    (Hendrycks, Mazeika and Dietterich 2019, Deep Anomaly Detection with Outlier Exposure).
    """
    extra = torch.randint(len(non_digits), (RECIPE["non_digits"],)).to(non_digits.device)
    smoothing = RECIPE["label_smoothing"]
    targets = F.one_hot(data.train_labels[chosen], 10) * (1 - smoothing) + smoothing / 10
    targets = torch.cat([targets, targets.new_full((len(extra), 10), 0.1)])
    pixels = normalise(augment(torch.cat([data.train[chosen], non_digits[extra]]), strength))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16_is_fast(pixels.device)):
        logits = network(pixels)
    return F.cross_entropy(logits.float(), targets)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere autocast makes training slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def batches(images: int, steps: range, per_epoch: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Step and indices int64 [batch], in an order that is new in every epoch.

    The random numbers are seeded anew for each step, so that a resumed run meets the same ones.
    """
    for epoch in range(steps.start // per_epoch, -(-steps.stop // per_epoch)):
        order = torch.randperm(
            images, generator=torch.Generator().manual_seed(seed * 1_000 + epoch)
        )
        for place in range(per_epoch):
            step = epoch * per_epoch + place
            if step in steps:
                torch.manual_seed((seed + 1) * 1_000_003 + step)
                yield step, order[place * RECIPE["batch"] :][: RECIPE["batch"]]


def report(step: int, steps: int, per_epoch: int, loss: Tensor, started: float) -> None:
    """A bar on a terminal, a line at the end of an epoch in a log."""
    epochs, seconds = steps // per_epoch, time.monotonic() - started
    text = f"epoch {step / per_epoch:.1f}/{epochs}  loss {loss.item():.3f}  {seconds:.1f} s"
    if sys.stdout.isatty():
        end = "\n" if step == steps else ""
        print(f"\r[{'#' * (30 * step // steps):30}] {text} ", end=end, flush=True)
    elif step % per_epoch == 0:
        print(text, flush=True)


def train(data: Dataset, options: argparse.Namespace) -> nn.Module:
    """The trained network; a signal ends the process, with a checkpoint to resume from."""
    device = data.train.device
    torch.manual_seed(options.seed)
    network = build_network().to(device, memory_format=torch.channels_last)
    sgd = torch.optim.SGD(
        network.parameters(),
        momentum=RECIPE["momentum"],
        weight_decay=RECIPE["weight_decay"],
        nesterov=True,
    )
    non_digits = torch.from_numpy(draw_non_digits(NON_DIGITS_DRAWN, options.seed)).to(device)
    per_epoch = DRY_RUN_STEPS if options.dry_run else len(data.train) // RECIPE["batch"]
    steps = per_epoch * options.epochs
    path, run = options.output_dir / CHECKPOINT, json.dumps(recipe(options))
    first = checkpoint.resume(path, run, network, sgd)
    if first:
        print(f"resuming from {path} at step {first} of {steps}", flush=True)
    started = time.monotonic()
    network.train()
    with noted_signals() as received:
        for step, chosen in batches(len(data.train), range(first, steps), per_epoch, options.seed):
            sgd.param_groups[0]["lr"] = learning_rate(step, steps)
            sgd.zero_grad()
            is_last = step >= (1 - RECIPE["last_share"]) * steps
            strength = RECIPE["last_strength"] if is_last else 1.0
            loss = batch_loss(network, data, chosen.to(device), non_digits, strength)
            loss.backward()
            sgd.step()
            report(step + 1, steps, per_epoch, loss, started)
            if received or (step + 1) % per_epoch == 0:
                checkpoint.save(path, run, step + 1, network, sgd)
            if received:
                print(
                    f"stopped after step {step + 1} of {steps}: start again to resume", flush=True
                )
                sys.exit(128 + received[0])
    return network.eval()


def recipe(options: argparse.Namespace) -> dict[str, object]:
    """What the weights depend on, apart from the machine and its number of threads."""
    chosen = {"dataset": options.dataset, "epochs": options.epochs, "seed": options.seed}
    return {**chosen, **RECIPE}


def run(options: argparse.Namespace) -> None:
    """Load, train, publish; raises DownloadError, PublishError, OSError."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = dataset.load(options.dataset, options.data_dir, options.seed)
    data = Dataset(*(tensor.to(device) for tensor in data))
    where = f"{device.type}, {torch.get_num_threads()} threads"
    print(f"training on {len(data.train)} {options.dataset} images ({where})", flush=True)
    facts = {"dataset": options.dataset, "recipe": recipe(options), "trained_on": where}
    network = train(data, options)
    try:
        publish(network, data, options.output_dir, options.min_accuracy, facts)
    except PublishError:
        # Kept, it would make every further start end in the same way.
        (options.output_dir / CHECKPOINT).unlink()
        raise
    (options.output_dir / CHECKPOINT).unlink()


def end_at_once(number: int, _frame: object) -> None:
    """What SIGTERM and SIGINT do before and after the training loop; PID 1 would ignore them."""
    sys.exit(128 + number)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Inside the block, SIGTERM and SIGINT only add to the list, so that a step can be finished."""
    received: list[int] = []
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield received
    finally:
        for number in ENDING_SIGNALS:
            signal.signal(number, end_at_once)


def run_or_explain(options: argparse.Namespace) -> int:
    """The exit code of a run, after one message on standard error when it failed."""
    try:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        # Found out now rather than after a minute of training.
        tempfile.TemporaryFile(dir=options.output_dir).close()
    except OSError as error:
        return fail(os.EX_CANTCREAT, f"cannot write to the output folder: {error}")
    try:
        run(options)
    except DownloadError as error:
        return fail(os.EX_UNAVAILABLE if error.temporary else os.EX_DATAERR, error)
    except PublishError as error:
        return fail(os.EX_SOFTWARE, error)
    except OSError as error:
        return fail(os.EX_IOERR, error)
    return os.EX_OK


def fail(code: int, problem: object) -> int:
    """Say what went wrong; the code."""
    print(f"train: {problem}", file=sys.stderr)
    return code


def main() -> int:
    """Take the flags, train, publish; the exit code."""
    for number in ENDING_SIGNALS:
        signal.signal(number, end_at_once)
    options = parse_options(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        if options.dry_run:
            options.output_dir, options.min_accuracy = Path(scratch), 0.0
        code = run_or_explain(options)
    if code == os.EX_OK:
        print("dry run: nothing kept" if options.dry_run else f"published in {options.output_dir}")
    return code


if __name__ == "__main__":
    sys.exit(main())
