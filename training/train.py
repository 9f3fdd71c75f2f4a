"""Trains a digit classifier and publishes it as one self-describing file, model.onnx.

    python training/train.py                          # MNIST
    python training/train.py --dataset synthetic      # drawn digits, nothing to download

A run that is interrupted leaves a checkpoint, and the same command continues from it.

Exit codes: 0 published, 2 wrong usage, 65 the mirrors have wrong data, 69 no mirror answers, 70 the
model is not good enough, 73 a file cannot be written (retrying does not help), 74 another file
error, 128 + N ended by signal N.
"""

import errno
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import signals

if __name__ == "__main__":
    signals.end_at_once()  # before torch is imported, which takes seconds

import checkpoint
import click
import dataset
import torch
import torch.nn.functional as F
from augment import augment
from dataset import Dataset
from drawing.non_digits import draw_non_digits
from files import finish_publishing, locked, remove_temporary_files, write_atomically
from mnist import DownloadError
from network import build_network, normalise
from publish import PublishError, logits_of, publish
from published import published_dataset
from torch import Tensor, nn
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
MIN_ACCURACY = {"mnist": 0.98, "synthetic": 0.95}  # on the held-out images
NON_DIGITS_DRAWN = 4_000
DRY_RUN_STEPS = 5
NO_RETRY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
RECIPE = {
    "batch": 128,
    "peak_learning_rate": 0.5,
    "warm_up": 0.25,  # of all steps
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "label_smoothing": 0.05,
    "non_digits": 24,  # added to every batch
    "last_share": 0.25,  # of all steps, with distortions of last_strength
    "last_strength": 0.6,
}


def batches(images: int, steps: range, per_epoch: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Each step and its indices int64 [batch], in an order that is new in every epoch.

    The random numbers are seeded for each step, so that a resumed run draws the same ones.
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


def learning_rate(step: int, steps: int) -> float:
    """One cycle, linearly up and down (Smith and Topin 2018, "Super-Convergence")."""
    warm_up = RECIPE["warm_up"] * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return RECIPE["peak_learning_rate"] * share


def distortion(step: int, steps: int) -> float:
    """The strength of the augmentation: milder at the end (He et al. 2019, "Data Augmentation
    Revisited", section 4)."""
    return RECIPE["last_strength"] if step >= (1 - RECIPE["last_share"]) * steps else 1.0


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16; elsewhere autocast makes training slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def batch_loss(
    network: nn.Module, images: Tensor, labels: Tensor, non_digits: Tensor, strength: float
) -> Tensor:
    """Cross entropy of augmented images uint8 [N, 28, 28], with some of `non_digits` added.

    The target of a non-digit is ten equal probabilities (Hendrycks, Mazeika and Dietterich 2019,
    "Deep Anomaly Detection with Outlier Exposure").
    """
    extra = torch.randint(len(non_digits), (RECIPE["non_digits"],)).to(non_digits.device)
    smoothing = RECIPE["label_smoothing"]
    targets = F.one_hot(labels, 10) * (1 - smoothing) + smoothing / 10
    targets = torch.cat([targets, targets.new_full((len(extra), 10), 0.1)])
    pixels = normalise(augment(torch.cat([images, non_digits[extra]]), strength))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16_is_fast(pixels.device)):
        logits = network(pixels)
    return F.cross_entropy(logits.float(), targets)


def build(seed: int, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network with the initial weights of this seed, and its optimizer."""
    torch.manual_seed(seed)
    network = build_network().to(device, memory_format=torch.channels_last)
    momentum, decay = RECIPE["momentum"], RECIPE["weight_decay"]
    return network, torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=momentum, weight_decay=decay, nesterov=True
    )


def train(
    data: Dataset, options: SimpleNamespace, device: torch.device, path: Path
) -> tuple[nn.Module, list[dict[str, float]]]:
    """The trained network and the metrics of each epoch; `path` is the run's checkpoint.

    A signal ends the process after the current step, with a checkpoint to resume from.
    """
    network, sgd, first, history = checkpoint.resume(path, partial(build, options.seed, device))
    images, labels = data.train.to(device), data.train_labels.to(device)
    held_out, held_out_labels = data.held_out.to(device), data.held_out_labels.to(device)
    non_digits = torch.from_numpy(draw_non_digits(NON_DIGITS_DRAWN, options.seed)).to(device)
    per_epoch = DRY_RUN_STEPS if options.dry_run else len(images) // RECIPE["batch"]
    steps = per_epoch * options.epochs
    if first:
        print(f"resuming from {path} at step {first} of {steps}", flush=True)
    started = time.monotonic() - (history[-1]["seconds"] if history else 0)
    network.train()
    bar = tqdm(total=steps, initial=first, unit="step", disable=not sys.stdout.isatty())
    with bar, signals.noted() as received:
        for step, chosen in batches(len(images), range(first, steps), per_epoch, options.seed):
            sgd.param_groups[0]["lr"] = learning_rate(step, steps)
            sgd.zero_grad()
            chosen = chosen.to(device)
            strength = distortion(step, steps)
            loss = batch_loss(network, images[chosen], labels[chosen], non_digits, strength)
            if not math.isfinite(loss.item()):
                raise PublishError(f"the loss became {loss.item()} at step {step + 1}: stopped")
            loss.backward()
            sgd.step()
            bar.update()
            epoch, rest = divmod(step + 1, per_epoch)
            if rest == 0:
                accuracy = evaluate(network, held_out, held_out_labels)
                values = (epoch, accuracy, loss.item(), sgd.param_groups[0]["lr"])
                names = ("epoch", "held_out_accuracy", "loss", "learning_rate")
                metrics = {n: round(v, 5) for n, v in zip(names, values, strict=True)}
                history.append({**metrics, "seconds": round(time.monotonic() - started, 1)})
                report(history, options)
                bar.set_postfix_str(f"held-out accuracy {accuracy:.2%}")
            if received or rest == 0:
                checkpoint.save(path, step + 1, network, sgd, history)
            if received:
                bar.close()
                print(f"stopped after step {step + 1} of {steps}: run the same command to resume")
                sys.exit(128 + received[0])
    return network.eval(), history


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The accuracy on uint8 images [N, 28, 28]; the network stays in training mode."""
    network.eval()
    accuracy = (logits_of(network, images).argmax(dim=1) == labels).float().mean().item()
    network.train()
    return accuracy


def report(history: list[dict[str, float]], options: SimpleNamespace) -> None:
    """Print the last epoch's metrics and write all epochs' to metrics.jsonl; raises OSError."""
    last = history[-1]
    tqdm.write(
        f"epoch {last['epoch']}/{options.epochs}  held-out accuracy "
        f"{last['held_out_accuracy']:.2%}  loss {last['loss']:.3f}  {last['seconds']:.1f} s"
    )
    sys.stdout.flush()
    lines = "".join(json.dumps(line) + "\n" for line in history)
    write_atomically(options.output_dir / "metrics.jsonl", lines.encode())


def run(options: SimpleNamespace) -> None:
    """Load the data, train, publish, plot; raises DownloadError, PublishError, OSError."""
    output_dir = options.output_dir
    remove_temporary_files(output_dir)
    finish_publishing(output_dir)
    model = output_dir / "model.onnx"
    protected = not options.replace and published_dataset(model) == "mnist"
    if options.dataset == "synthetic" and protected:
        raise click.UsageError(f"{model} was trained on MNIST: add --replace to replace it")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = dataset.load(options.dataset, options.data_dir, options.seed)
    where = f"{device.type}, {torch.get_num_threads()} threads"
    print(f"training on {len(data.train)} {options.dataset} images ({where})", flush=True)
    chosen = {"dataset": options.dataset, "epochs": options.epochs, "seed": options.seed}
    path = checkpoint.path_of(output_dir, checkpoint.run_id(chosen))
    checkpoint.report_others(output_dir, path)
    network, history = train(data, options, device, path)
    facts = {"dataset": options.dataset, "recipe": {**chosen, **RECIPE}, "trained_on": where}
    probabilities = publish(network, data, output_dir, options.min_accuracy, facts)
    path.unlink()
    from plots import plot_run  # matplotlib takes a second to import

    plot_run(history, data.test.numpy(), data.test_labels.numpy(), probabilities, output_dir)


def run_or_explain(options: SimpleNamespace) -> int:
    """The exit code of a run, after one message on standard error if it failed."""
    try:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        # Better to fail now than after a minute of training.
        tempfile.TemporaryFile(dir=options.output_dir).close()
    except OSError as error:
        return fail(os.EX_CANTCREAT, f"cannot write to the output folder: {error}")
    try:
        with locked(options.output_dir / ".lock"):
            run(options)
    except DownloadError as error:
        return fail(error.exit_code, error)
    except PublishError as error:
        return fail(os.EX_SOFTWARE, error)
    except OSError as error:
        return fail(os.EX_CANTCREAT if error.errno in NO_RETRY else os.EX_IOERR, error)
    return os.EX_OK


def fail(code: int, problem: object) -> int:
    """Print what went wrong to standard error and return the exit code."""
    print(f"train: {problem}", file=sys.stderr)
    return code


folder = click.Path(path_type=Path, file_okay=False)
setting = partial(click.option, show_envvar=True, show_default=True)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@setting("--dataset", envvar="DATASET", type=click.Choice(dataset.NAMES), default="mnist")
@setting("--data-dir", envvar="DATA_DIR", type=folder, default=ROOT / "data" / "mnist")
@setting("--output-dir", envvar="OUTPUT_DIR", type=folder, default=ROOT / "artifacts")
@setting("--epochs", envvar="EPOCHS", type=click.IntRange(min=1), default=4)
@setting("--seed", envvar="SEED", type=click.IntRange(0, (1 << 30) - 1), default=0)
@setting(
    "--min-accuracy",
    envvar="MIN_ACCURACY",
    type=click.FloatRange(0, 1),
    help=f"needed on the held-out images to publish; default {MIN_ACCURACY}",
)
@setting(
    "--replace", envvar="REPLACE", is_flag=True, help="let synthetic digits replace an MNIST model"
)
@click.option("--dry-run", is_flag=True, help="train a few steps and keep nothing")
def main(**options: object) -> None:
    """Train and publish, then exit with the code of the result."""
    chosen = SimpleNamespace(**options)
    if chosen.min_accuracy is None:
        chosen.min_accuracy = MIN_ACCURACY[chosen.dataset]
    with tempfile.TemporaryDirectory() if chosen.dry_run else nullcontext() as scratch:
        if chosen.dry_run:
            chosen.output_dir, chosen.min_accuracy = Path(scratch), 0.0
        code = run_or_explain(chosen)
    if code == os.EX_OK:
        print("dry run: nothing kept" if chosen.dry_run else f"published in {chosen.output_dir}")
    sys.exit(code)


if __name__ == "__main__":
    main()
