"""The images: MNIST or drawn digits, split into training, held-out and test images; batches.

MNIST is read by torchvision, in its layout (FOLDER/MNIST/raw). What is missing there comes from
the archives in FOLDER, or from the first mirror that has them: those in MNIST_MIRROR (base URLs,
separated by commas), then torchvision's.
"""

import gzip
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from drawing.added_digits import draw_added_digits, wear
from drawing.non_digits import draw_non_digits
from drawing.synthetic import draw_digits
from process import Failure, locked_folder, write_atomically
from ranks import rank, world_size
from torch import Tensor

DATASETS = ("mnist", "synthetic")
HELD_OUT = 5_000  # of the training images, for every decision about the model
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 40_000, 5_000
DRAWN_DIGITS, WORN_DIGITS, NON_DIGITS = 4_000, 2_000, 5_000
ATTEMPTS = 3
BACKOFF_SECONDS = 0.5
TIMEOUT_SECONDS = 15  # without a byte
UNREADABLE = (RuntimeError, AssertionError, KeyError, TypeError, ValueError)  # of torchvision


class Dataset(NamedTuple):
    """Images uint8 [N, 28, 28], white on black, and labels int64 [N]."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    test: Tensor
    test_labels: Tensor
    added: Tensor  # drawn and worn digits and non-digits, some of which are added to each batch
    added_labels: Tensor
    non_digits: Tensor


def load_dataset(name: str, folder: Path, seed: int) -> Dataset:
    """Load a dataset by its name; raises as mnist() does.

    `folder` has MNIST; `seed` decides which digits and non-digits are drawn.
    """
    if name == "mnist":
        images, labels, *test = mnist(folder)
    else:
        train = draw_digits(SYNTHETIC_TRAIN + HELD_OUT, seed=2 * seed)
        images, labels = (torch.from_numpy(array) for array in train)
        test = [torch.from_numpy(a) for a in draw_digits(SYNTHETIC_TEST, seed=2 * seed + 1)]
    return Dataset(
        *(images[:-HELD_OUT], labels[:-HELD_OUT]),
        *(images[-HELD_OUT:], labels[-HELD_OUT:]),
        *test,
        *added_digits(images[:-HELD_OUT], labels[:-HELD_OUT], seed),
        torch.from_numpy(draw_non_digits(NON_DIGITS, seed)),
    )


def added_digits(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Drawn digits and worn copies of some of these images, uint8 [N, 28, 28]; labels int64 [N]."""
    drawn, drawn_labels = draw_added_digits(DRAWN_DIGITS, seed)
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(len(images))[:WORN_DIGITS]
    worn = wear(images[chosen].numpy(), labels[chosen].numpy(), rng)
    images = torch.from_numpy(np.concatenate([drawn, worn]))
    return images, torch.cat([torch.from_numpy(drawn_labels), labels[chosen]])


def batches(
    images: int, steps: range, per_epoch: int, batch: int, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Each step and this rank's share of its indices int64 [batch], in a new order in every epoch.

    The random numbers are seeded for each step and rank, so that a resumed run draws the same ones.
    """
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == steps.start:
            generator = torch.Generator().manual_seed(seed * 1_000 + epoch)
            order = torch.randperm(images, generator=generator)
        # Only the lower 32 bits of a seed matter.
        torch.manual_seed((seed + 1) * 1_000_003 + step + rank() * 500_000_003)
        yield step, order[place * batch :][:batch][rank() :: world_size()]


def mnist(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images uint8 [60000, 28, 28] and labels int64 [60000], then 10,000 test images and
    their labels. Raises Failure or OSError."""
    from torchvision.datasets import MNIST  # takes a second, and synthetic digits do not need it

    def read() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        train, test = MNIST(folder, train=True), MNIST(folder, train=False)
        return train.data, train.targets, test.data, test.targets

    try:
        return read()
    except UNREADABLE:  # missing or damaged
        raw = folder / "MNIST" / "raw"
        with locked_folder(raw):
            for name, md5 in MNIST.resources:
                if is_official(folder / name, md5):
                    write_atomically(raw / name, (folder / name).read_bytes())
            if not all(is_official(raw / name, md5) for name, md5 in MNIST.resources):
                download(raw, MNIST.resources, mirrors(MNIST.mirrors))
            for name, _ in MNIST.resources:
                write_atomically(raw / Path(name).stem, gzip.decompress((raw / name).read_bytes()))
        return read()


def mirrors(public: list[str]) -> list[str]:
    """Base URLs in the order in which they are tried, each ending in a slash."""
    own = [url.strip() for url in os.environ.get("MNIST_MIRROR", "").split(",") if url.strip()]
    for url in own:
        if not url.startswith(("http://", "https://")):
            raise Failure(f"MNIST_MIRROR: {url!r} must start with http:// or https://", 2)
    return [url.rstrip("/") + "/" for url in (*own, *public)]


def md5_of(content: bytes) -> str:
    """The checksum that is published for MNIST's archives; it guards against accidents only."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def is_official(path: Path, md5: str) -> bool:
    """Whether the file exists and has the published checksum."""
    return path.exists() and md5_of(path.read_bytes()) == md5


def download(raw: Path, archives: list[tuple[str, str]], bases: list[str]) -> None:
    """Put the archives with these names and MD5 checksums into `raw`, unless they are there.

    The mirrors are asked one after the other, three times if that may help. Raises Failure.
    """
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * BACKOFF_SECONDS)
        failures = {}
        for base in bases:
            try:
                for name, md5 in archives:
                    if not is_official(raw / name, md5):
                        write_atomically(raw / name, fetch(base + name, md5))
                        print(f"downloaded {name} from {base}", flush=True)
                return
            except Failure as failure:
                failures[base] = failure
        code = max(failure.exit_code for failure in failures.values())  # 69 is more than 65
        if code != os.EX_UNAVAILABLE:
            break
    problems = "; ".join(f"{base}: {failure}" for base, failure in failures.items())
    names = ", ".join(name for name, _ in archives)
    raise Failure(
        f"no mirror has MNIST: {problems}. Set MNIST_MIRROR to the base URL of a server that has "
        f"{names}, or put them into {raw.parents[1]}",
        code,
    )


def fetch(url: str, md5: str) -> bytes:
    """The archive at `url`; raises Failure with EX_UNAVAILABLE (69) if trying again may help, and
    with EX_DATAERR (65) if not."""
    request = urllib.request.Request(url, headers={"User-Agent": "mnist-train/1"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            body = answer.read()
        if md5_of(body) != md5:
            what = "a web page" if body.lstrip()[:1] == b"<" else "something else"
            raise ValueError(f"{what} instead of the official archive")
        return body
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = f"{url.rpartition('/')[2]}: {str(error) or type(error).__name__}"
        # Wrong content, or a certificate that is not trusted, which is a ValueError as well.
        final = isinstance(getattr(error, "reason", error), ValueError)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            final = error.code < 500 and error.code not in (408, 429)
        raise Failure(problem, os.EX_DATAERR if final else os.EX_UNAVAILABLE) from None
