"""Trains a classifier and publishes it as one self-describing file, model.onnx.

    python training/train.py                          # about a minute on two cores, 99.5 to 99.6 %
    python training/train.py --dataset synthetic      # drawn digits, nothing to download
    python training/train.py --dataset fashion-mnist  # garments; see docs/your-own-model.md
    torchrun --nproc-per-node 2 training/train.py     # two processes; see ranks.py

The accuracy is that on MNIST's test set; docs/training.md has the recipes and how they were
chosen. A run that is interrupted leaves a checkpoint, and the same command continues from it.

Exit codes: 0 published, 2 wrong usage, 65 wrong data (from the mirrors, in the corrections, or too
few images), 69 no mirror answers, 70 the model is not good enough, 73 a file cannot be written
(retrying does not help), 74 another file error, 75 another rank has vanished, 128 + N ended by
signal N.
"""

import process

if __name__ == "__main__":  # before torch is imported, which takes seconds and starts threads
    process.end_at_once()
    process.choose_thread_count()

import io
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import click
import corrections
import ranks
import torch
import torch.nn.functional as F
from augment import augment
from corrections import Corrections
from dataset import DATASETS, Dataset, batches, load_dataset
from evaluate import plot_curves, plot_results
from model import Recipe, autocast, build, learning_rate, logits_of, normalise, schedule
from options import SETTINGS, Options, complete
from process import Failure
from publish import publish, published_metadata, restore_previous
from ranks import rank
from torch import Tensor, nn
from tqdm import tqdm

DRY_RUN_STEPS = 5


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"), params=SETTINGS)
def main(previous: bool, **values: object) -> None:
    """Train and publish; the exit code says what went wrong."""
    options = complete(**values)
    with ExitStack() as stack:
        stack.enter_context(process.explained_file_errors())
        if options.dry_run:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            options = options._replace(output_dir=Path(scratch), min_accuracy=0.0)
        if rank() == 0:
            stack.enter_context(process.locked_folder(options.output_dir))
        else:
            stack.enter_context(redirect_stdout(io.StringIO()))  # rank 0 speaks for all
        if previous:
            if rank() == 0:
                version = restore_previous(options.output_dir)
                print(f"{options.output_dir}/model.onnx is model {version} again")
            return
        load_and_train(options, ranks.choose_device())
        print("dry run: nothing kept" if options.dry_run else f"published in {options.output_dir}")


def load_and_train(options: Options, device: torch.device) -> None:
    """Load the data, train, publish; raises Failure, UsageError and OSError.

    What can be checked without the other ranks is checked before they are waited for.
    """
    dataset, batch = options.dataset, options.recipe.batch
    ranks.check_share(batch)
    found = replaced = None
    if rank() == 0:
        replaced = check_same_dataset(options.output_dir / "model.onnx", dataset, options.replace)
        classes, own = DATASETS[dataset].classes, options.data_dir / "corrections"
        found = corrections.load(options.corrections, own, classes)
    data = load_dataset(dataset, options.data_dir, options.seed, options.recipe.epochs)
    if len(data.train) < batch:
        few = f"{len(data.train)} training images and {len(data.held_out)} held-out ones"
        raise Failure(f"{dataset} has {few}: a batch alone takes {batch}", os.EX_DATAERR)
    with ranks.joined(device):
        found, replaced = ranks.from_rank_0((found, replaced))
        if found and replaced != dataset:
            print("there is no model to compare with: training one without the corrections first")
            train_and_publish(data, None, options, device)
        train_and_publish(data, found, options, device)


def check_same_dataset(model: Path, dataset: str, replace: bool) -> str | None:
    """The dataset of the model that would be replaced, None if there is no model.

    Without `replace`, raises UsageError if it is another one. MNIST may replace synthetic digits.
    """
    if not (metadata := published_metadata(model)):
        return None
    replaced = metadata.get("dataset", "other data")
    if not replace and replaced != dataset and (replaced, dataset) != ("synthetic", "mnist"):
        raise click.UsageError(
            f"{model} was trained on {replaced}: add --replace to replace it by a model of "
            f"{dataset}, or choose another --output-dir"
        )
    return replaced


def train(
    data: Dataset, recipe: Recipe, seed: int, per_epoch: int, device: torch.device, path: Path
) -> tuple[nn.Module, list[dict[str, float]]]:
    """The trained network and the metrics of each epoch, which has `per_epoch` steps.

    `path` is the run's checkpoint: a signal ends the process after the current step, to be resumed.
    """
    network, sgd = build(recipe, seed, device)
    saved = ranks.from_rank_0(path.read_bytes() if path.exists() else b"")
    first, history = process.resume(path, saved, network, sgd)
    data = Dataset(*(part.to(device) for part in data))
    steps = per_epoch * recipe.epochs
    left = batches(len(data.train), range(first, steps), per_epoch, recipe.batch, seed)
    started = time.monotonic() - (history[-1]["seconds"] if history else 0)
    parallel = ranks.parallel(network.train())
    bar = tqdm(total=steps, initial=first, unit="step", disable=not sys.stdout.isatty())
    with bar, process.noted_signals() as received:
        for step, chosen in left:
            rate = sgd.param_groups[0]["lr"] = learning_rate(recipe, step, steps)
            loss = batch_loss(parallel, data, chosen.to(device), recipe, step, steps)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            bar.update()
            epoch, rest = divmod(step + 1, per_epoch)
            if rest == 0:
                accuracy, seconds = held_out_accuracy(network, data), time.monotonic() - started
                values = (epoch, accuracy, loss.item(), rate, round(seconds, 1))
                record(history, values, recipe.epochs, path.parent / "metrics.jsonl")
            signal = ranks.any_signal(received, device)
            if (signal or rest == 0) and rank() == 0:
                process.save_checkpoint(path, step + 1, network, sgd, history)
            if signal:
                bar.close()
                print(f"stopped after step {step + 1} of {steps}: run the same command to resume")
                sys.exit(128 + signal)
    return network.eval(), history


def batch_loss(
    network: nn.Module, data: Dataset, chosen: Tensor, recipe: Recipe, step: int, steps: int
) -> Tensor:
    """Cross entropy of the chosen images, augmented, with drawn digits and some non-digits added.

    With several ranks it is weighted, so that the mean over the ranks is that of the whole batch.
    The target of a non-digit is ten equal probabilities (Hendrycks, Mazeika and Dietterich 2019,
    "Deep Anomaly Detection with Outlier Exposure"). Raises Failure if the loss is not finite.
    """
    device = data.train.device
    strength, drawn = schedule(recipe, step, steps)
    digits = some_of(data.added, ranks.share(drawn))
    others = some_of(data.non_digits, ranks.share(recipe.non_digits))
    images = torch.cat([data.train[chosen], data.added[digits], data.non_digits[others]])
    labels = torch.cat([data.train_labels[chosen], data.added_labels[digits]])
    smoothing = recipe.label_smoothing
    targets = F.one_hot(labels, 10) * (1 - smoothing) + smoothing / 10
    targets = torch.cat([targets, targets.new_full((len(others), 10), 0.1)])
    pixels = normalise(augment(images, recipe, strength))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with autocast(device):
        logits = network(pixels)
    weight = len(targets) * ranks.world_size() / (recipe.batch + drawn + recipe.non_digits)
    loss = weight * F.cross_entropy(logits.float(), targets)
    if not loss.isfinite():
        raise Failure(f"the loss became {loss.item()} at step {step + 1}: stopped", os.EX_SOFTWARE)
    return loss


def some_of(images: Tensor, count: int) -> Tensor:
    """Indices int64 [count] of random images, none if there are none."""
    return torch.randint(len(images) or 1, (count,)).to(images.device)


def held_out_accuracy(network: nn.Module, data: Dataset) -> float:
    """The accuracy on the held-out images; the network stays in training mode.

    Each rank evaluates all of them, with the mean of the ranks' BatchNorm statistics.
    """
    ranks.average(network.buffers())
    network.eval()
    predictions = logits_of(network, data.held_out).argmax(dim=1)
    network.train()
    return (predictions == data.held_out_labels).float().mean().item()


def record(
    history: list[dict[str, float]], values: tuple[float, ...], epochs: int, path: Path
) -> None:
    """Add an epoch's metrics to the history; rank 0 prints them and writes all to `path`."""
    names = ("epoch", "held_out_accuracy", "loss", "learning_rate", "seconds")
    last = {name: round(value, 5) for name, value in zip(names, values, strict=True)}
    history.append(last)
    if rank() > 0:
        return
    tqdm.write(
        f"epoch {last['epoch']}/{epochs}  held-out accuracy {last['held_out_accuracy']:.2%}  "
        f"loss {last['loss']:.3f}  {last['seconds']:.1f} s"
    )
    sys.stdout.flush()
    lines = "".join(json.dumps(line) + "\n" for line in history)
    process.write_atomically(path, lines.encode())


def train_and_publish(
    data: Dataset, found: Corrections | None, options: Options, device: torch.device
) -> None:
    """Train, publish and plot, with corrections or without; raises as load_and_train() does."""
    folder, recipe, source = options.output_dir, options.recipe, DATASETS[options.dataset]
    chosen = {"name": options.recipe_name, "dataset": options.dataset, "seed": options.seed}
    chosen |= recipe._asdict()
    if found:
        data, chosen["corrections"] = corrections.add_to(data, found), found.checksum
    where = f"{device.type}, {torch.get_num_threads()} threads"
    where += f", {ranks.world_size()} ranks" if ranks.world_size() > 1 else ""
    print(f"training on {len(data.train)} {options.dataset} images ({where})", flush=True)
    path = process.checkpoint_path(folder, {**chosen, "torch": torch.__version__})
    ranks.check_same_run(path.name)
    for other in sorted(folder.glob("checkpoint-*.pt")):
        if other != path:  # only its owner can decide
            print(f"keeping {other}, which belongs to a run with other options or code", flush=True)
    per_epoch = DRY_RUN_STEPS if options.dry_run else len(data.train) // recipe.batch
    network, history = train(data, recipe, options.seed, per_epoch, device, path)
    if rank() == 0:
        facts = {"dataset": options.dataset, "recipe": chosen, "trained_on": where}
        facts |= {"reading": source.reading}
        facts |= {"classes": source.classes} if source.classes else {}
        accuracy = history[-1]["held_out_accuracy"]
        if found:
            facts["corrections"] = corrections.judge(network, accuracy, data, found, folder)
        if accuracy < options.min_accuracy:
            raise Failure(
                f"the held-out accuracy {accuracy:.2%} is below --min-accuracy "
                f"{options.min_accuracy:.2%}: nothing published, the checkpoint is kept",
                os.EX_SOFTWARE,
            )
        probabilities = publish(network, data, facts, folder, options.replace)
        path.unlink()
        plot_curves(history, folder / "curves.png")
        plot_results(data.test.numpy(), data.test_labels.numpy(), probabilities, folder)


if __name__ == "__main__":
    main()
