"""Datasets of torchvision in MNIST's format: four archives, from a folder or a mirror.

They are read in torchvision's layout (FOLDER/MNIST/raw). What is missing there comes from the
archives in FOLDER, or from the first mirror that has them: those in MNIST_MIRROR or
FASHION_MNIST_MIRROR (base URLs, separated by commas), then torchvision's.
"""

import gzip
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from process import Failure, locked_folder, write_atomically
from torch import Tensor

ATTEMPTS = 3
BACKOFF_SECONDS = 0.5
TIMEOUT_SECONDS = 15  # without a byte
UNREADABLE = (RuntimeError, AssertionError, KeyError, TypeError, ValueError)  # of torchvision
# Training images uint8 [N, 28, 28] and labels int64 [N], then test images and their labels.
Images = tuple[Tensor, Tensor, Tensor, Tensor]


def read_archives(name: str, torchvision_name: str, folder: Path) -> Images:
    """The images of a dataset of torchvision's in MNIST's format. Raises Failure or OSError."""
    from torchvision import datasets  # takes a second, and synthetic digits do not need it

    kind = getattr(datasets, torchvision_name)

    def read() -> Images:
        train, test = kind(folder, train=True), kind(folder, train=False)
        return train.data, train.targets, test.data, test.targets

    try:
        return read()
    except UNREADABLE:  # missing or damaged
        raw = folder / torchvision_name / "raw"
        with locked_folder(raw):
            for archive, md5 in kind.resources:
                if is_official(folder / archive, md5):
                    write_atomically(raw / archive, (folder / archive).read_bytes())
            if not all(is_official(raw / archive, md5) for archive, md5 in kind.resources):
                download(name, raw, kind.resources, mirrors(name, kind.mirrors))
            for archive, _ in kind.resources:
                plain = gzip.decompress((raw / archive).read_bytes())
                write_atomically(raw / Path(archive).stem, plain)
        return read()


def mirror_variable(name: str) -> str:
    """The environment variable with a dataset's mirrors, since archives have the same names."""
    return name.upper().replace("-", "_") + "_MIRROR"


def mirrors(name: str, public: list[str]) -> list[str]:
    """Base URLs in the order in which they are tried, each ending in a slash."""
    variable = mirror_variable(name)
    own = [url.strip() for url in os.environ.get(variable, "").split(",") if url.strip()]
    for url in own:
        if not url.startswith(("http://", "https://")):
            raise Failure(f"{variable}: {url!r} must start with http:// or https://", 2)
    return [url.rstrip("/") + "/" for url in (*own, *public)]


def md5_of(content: bytes) -> str:
    """The checksum that is published for the archives; it guards against accidents only."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def is_official(path: Path, md5: str) -> bool:
    """Whether the file exists and has the published checksum."""
    return path.exists() and md5_of(path.read_bytes()) == md5


def download(dataset: str, raw: Path, archives: list[tuple[str, str]], bases: list[str]) -> None:
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
        f"no mirror has {dataset}: {problems}. Set {mirror_variable(dataset)} to the base URL of a "
        f"server that has its {names}, or put them into {raw.parents[1]}",
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
