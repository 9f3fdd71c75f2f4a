"""Trains a digit classifier and publishes it as one self-describing file, model.onnx.

    python training/train.py                       # 54 s on two cores, 99.62 % with seed 0
    python training/train.py --dataset synthetic   # drawn digits, nothing to download
    torchrun --nproc-per-node 2 training/train.py  # two processes; see distributed.py

The accuracy is that on MNIST's test set; docs/training.md has the recipes and how they were
chosen. A run that is interrupted leaves a checkpoint, and the same command continues from it.

Exit codes: 0 published, 2 wrong usage, 65 wrong data from the mirrors or in the corrections, 69 no
mirror answers, 70 the model is not good enough, 73 a file cannot be written (retrying does not
help), 74 another file error, 75 another rank has vanished, 128 + N ended by signal N.
"""

import signals
import threads

if __name__ == "__main__":  # before torch is imported, which takes seconds and starts threads
    signals.end_at_once()
    threads.choose_thread_count()

import math
import os
import sys
import tempfile
import time
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import checkpoint
import command_line
import corrections
import dataset
import distributed
import torch
import torch.nn.functional as F
from augment import augment
from corrections import Corrections
from dataset import Dataset, batches
from devices import bf16_is_fast, choose_device
from distributed import rank, ranks, share
from drawing.non_digits import draw_non_digits
from drawing.styles import draw_added_digits
from exit_codes import run_or_explain
from neighbours import Neighbours
from network import normalise
from optimization import build, distortion, drawn_digits, learning_rate
from progress import progress_bar, record
from publish import PublishError, logits_of, prepare_folder, publish
from published import published_dataset
from recipes import Recipe
from torch import Tensor, nn

DIGITS_DRAWN, NON_DIGITS_DRAWN = 4_000, 5_000
DRY_RUN_STEPS = 5


class Batch(NamedTuple):
    """Images uint8 [N, 28, 28] with their labels, and drawn ones to choose some from."""

    images: Tensor
    labels: Tensor
    drawn: Tensor
    drawn_labels: Tensor
    non_digits: Tensor


def batch_loss(
    network: nn.Module, batch: Batch, recipe: Recipe, strength: float, drawn: int
) -> Tensor:
    """Cross entropy of a batch's augmented images, with some drawn digits and non-digits added.

    With several ranks it is weighted, so that the mean over the ranks is that of the whole batch.
    The target of a non-digit is ten equal probabilities (Hendrycks, Mazeika and Dietterich 2019,
    "Deep Anomaly Detection with Outlier Exposure").
    """
    device = batch.images.device
    digits = torch.randint(len(batch.drawn), (share(drawn),)).to(device)
    others = torch.randint(len(batch.non_digits), (share(recipe.non_digits),)).to(device)
    images = torch.cat([batch.images, batch.drawn[digits], batch.non_digits[others]])
    labels = torch.cat([batch.labels, batch.drawn_labels[digits]])
    smoothing = recipe.label_smoothing
    targets = F.one_hot(labels, 10) * (1 - smoothing) + smoothing / 10
    targets = torch.cat([targets, targets.new_full((len(others), 10), 0.1)])
    pixels = normalise(augment(images, recipe, strength))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16_is_fast(pixels.device)):
        logits = network(pixels)
    weight = len(targets) * ranks() / (recipe.batch + drawn + recipe.non_digits)
    return weight * F.cross_entropy(logits.float(), targets)


def take_step(
    network: nn.Module,
    sgd: torch.optim.SGD,
    batch: Batch,
    recipe: Recipe,
    step: int,
    steps: int,
) -> float:
    """Update the weights with a batch; returns the loss.

    Raises PublishError if the loss is not finite.
    """
    sgd.param_groups[0]["lr"] = learning_rate(recipe, step, steps)
    sgd.zero_grad()
    strength, drawn = distortion(recipe, step, steps), drawn_digits(recipe, step, steps)
    loss = batch_loss(network, batch, recipe, strength, drawn)
    if not math.isfinite(loss.item()):
        raise PublishError(f"the loss became {loss.item()} at step {step + 1}: stopped")
    loss.backward()
    sgd.step()
    return loss.item()


def train(
    data: Dataset, options: SimpleNamespace, device: torch.device, path: Path
) -> tuple[nn.Module, list[dict[str, float]]]:
    """The trained network and the metrics of each epoch; `path` is the run's checkpoint.

    A signal ends the process after the current step, with a checkpoint to resume from.
    """
    recipe, seed = options.recipe, options.seed
    network, sgd, first, history = checkpoint.resume(path, partial(build, recipe, seed, device))
    data = Dataset(*(part.to(device) for part in data))
    drawn = *draw_added_digits(DIGITS_DRAWN, seed), draw_non_digits(NON_DIGITS_DRAWN, seed)
    drawn = [torch.from_numpy(images).to(device) for images in drawn]
    per_epoch = DRY_RUN_STEPS if options.dry_run else len(data.train) // recipe.batch
    steps = per_epoch * recipe.epochs
    first = distributed.start_together(path.name, network, sgd, first)
    started = time.monotonic() - (history[-1]["seconds"] if history else 0)
    parallel = distributed.parallel(network.train())
    todo = batches(len(data.train), range(first, steps), per_epoch, recipe.batch, seed)
    with (
        progress_bar(first, steps) as bar,
        signals.noted() as received,
        closing(Neighbours()) as neighbours,
    ):
        for step, chosen in todo:
            chosen = chosen.to(device)
            batch = Batch(data.train[chosen], data.train_labels[chosen], *drawn)
            loss = take_step(parallel, sgd, batch, recipe, step, steps)
            bar.update()
            neighbours.check()
            epoch, rest = divmod(step + 1, per_epoch)
            if rest == 0:
                accuracy = evaluate(network, data.held_out, data.held_out_labels)
                values = (epoch, accuracy, loss, sgd.param_groups[0]["lr"])
                record(history, values, time.monotonic() - started, options)
                bar.set_postfix_str(f"held-out accuracy {accuracy:.2%}")
            signal = distributed.any_signal(received, device)
            if signal or rest == 0:
                checkpoint.save(path, step + 1, network, sgd, history)
            if signal:
                bar.close()
                print(f"stopped after step {step + 1} of {steps}: run the same command to resume")
                sys.exit(128 + signal)
    return network.eval(), history


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The accuracy on uint8 images [N, 28, 28]; the network stays in training mode.

    Each rank evaluates its share of the images, with the mean of the ranks' BatchNorm statistics.
    """
    distributed.average(network.buffers())
    network.eval()
    predictions = logits_of(network, images[rank() :: ranks()]).argmax(dim=1)
    right = (predictions == labels[rank() :: ranks()]).float().sum()
    network.train()
    distributed.average([right])
    return right.item() * ranks() / len(images)


def run(options: SimpleNamespace, device: torch.device) -> None:
    """Load the data, train, publish; raises DownloadError, PublishError, OSError, UsageError.

    Raises CorrectionsError if there are corrections that cannot be used.
    """
    distributed.check_share(options.recipe.batch)
    if rank() == 0:
        prepare_folder(options.output_dir, options.dataset, options.replace)
    data = dataset.load(options.dataset, options.data_dir, options.seed)
    found = replaced = None
    if rank() == 0:
        found = corrections.load(options.corrections, options.data_dir / "corrections")
        replaced = published_dataset(options.output_dir / "model.onnx")
    found, replaced = distributed.from_rank_0((found, replaced))
    if found and replaced != options.dataset:
        print("there is no model to compare with: training one without the corrections first")
        train_and_publish(data, None, options, device)
    train_and_publish(data, found, options, device)


def train_and_publish(
    data: Dataset, found: Corrections | None, options: SimpleNamespace, device: torch.device
) -> None:
    """Train, publish and plot, with corrections or without; raises as run() does."""
    output_dir = options.output_dir
    chosen = {"name": options.recipe_name, "dataset": options.dataset, "seed": options.seed}
    chosen |= options.recipe._asdict()
    if found:
        before = corrections.measure_before(output_dir, data, found) if rank() == 0 else None
        data, chosen["corrections"] = corrections.add_to(data, found), found.checksum
    where = f"{device.type}, {torch.get_num_threads()} threads"
    where += f", {ranks()} ranks" if ranks() > 1 else ""
    print(f"training on {len(data.train)} {options.dataset} images ({where})", flush=True)
    path = checkpoint.path_of(output_dir, checkpoint.run_id(chosen))
    checkpoint.report_others(output_dir, path)
    network, history = train(data, options, device, path)
    if rank() == 0:
        facts = {"dataset": options.dataset, "recipe": chosen, "trained_on": where}
        if found:
            facts["corrections"] = corrections.judge(network, history, found, before)
        probabilities = publish(network, data, output_dir, options.min_accuracy, facts)
        path.unlink()
        from plots import plot_run  # matplotlib takes a second to import

        plot_run(history, data.test.numpy(), data.test_labels.numpy(), probabilities, output_dir)


@command_line.command(__doc__)
def main(**values: object) -> None:
    """Train and publish, then exit with the code of the result."""
    if rank() > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    chosen, device = command_line.resolve(values), choose_device()
    with tempfile.TemporaryDirectory() if chosen.dry_run else nullcontext() as scratch:
        if chosen.dry_run:
            chosen.output_dir, chosen.min_accuracy = Path(scratch), 0.0
        code = run_or_explain(partial(run, chosen, device), chosen.output_dir, device)
    if code == os.EX_OK:
        print("dry run: nothing kept" if chosen.dry_run else f"published in {chosen.output_dir}")
    sys.exit(code)


if __name__ == "__main__":
    main()
