"""MNIST: the four official archives, read from a folder or downloaded from a list of mirrors.

    python mnist.py data/mnist      # download and check only

MNIST_MIRROR (a base URL, or several separated by commas) is tried before the public mirrors.
Archives that are in the folder already are checked and used without a network.
"""

import gzip
import hashlib
import http.client
import math
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from files import locked, remove_temporary_files, write_atomically

ARCHIVES = {  # file name and MD5 of the archive, train before test
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
PUBLIC_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
ATTEMPTS = 3
BACKOFF_SECONDS = 0.5  # doubled after every attempt
READ_TIMEOUT_SECONDS = 15
ARCHIVE_TIMEOUT_SECONDS = 300  # also limits mirrors that send slowly but steadily
MAX_ARCHIVE_BYTES = 32 << 20


class DownloadError(Exception):
    """MNIST is not available. `temporary` means that trying again later may help."""

    def __init__(self, message: str, temporary: bool, exit_code: int | None = None):
        super().__init__(message)
        self.temporary = temporary
        self.exit_code = exit_code or (os.EX_UNAVAILABLE if temporary else os.EX_DATAERR)


def mirrors() -> list[str]:
    """Base URLs in the order in which they are tried, each ending in a slash."""
    own = [url.strip() for url in os.environ.get("MNIST_MIRROR", "").split(",") if url.strip()]
    for url in own:
        if not url.startswith(("http://", "https://")):
            problem = f"MNIST_MIRROR: {url!r} must start with http:// or https://"
            raise DownloadError(problem, temporary=False, exit_code=2)
    return [url.rstrip("/") + "/" for url in (*own, *PUBLIC_MIRRORS)]


def md5(content: bytes) -> str:
    """Hex digest; the published checksums are MD5, which guards against accidents only."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def download(url: str) -> bytes:
    """The body of a response; raises OSError or http.client.HTTPException if it is incomplete."""
    request = urllib.request.Request(url, headers={"User-Agent": "mnist-train/1"})
    deadline = time.monotonic() + ARCHIVE_TIMEOUT_SECONDS
    body = bytearray()
    with urllib.request.urlopen(request, timeout=READ_TIMEOUT_SECONDS) as answer:
        while chunk := answer.read1(1 << 16):
            body += chunk
            if len(body) > MAX_ARCHIVE_BYTES:
                raise DownloadError(f"more than {MAX_ARCHIVE_BYTES} bytes", temporary=False)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {ARCHIVE_TIMEOUT_SECONDS} s")
        expected = answer.headers.get("Content-Length")
    if expected and expected.isdigit() and len(body) < int(expected):
        raise ConnectionError(f"truncated after {len(body)} of {expected} bytes")
    return bytes(body)


def check(body: bytes, expected_md5: str) -> None:
    """Raise DownloadError when the bytes are not the official archive."""
    if md5(body) == expected_md5:
        return
    if body.lstrip()[:1] == b"<":
        problem = "a web page instead of the archive"
    elif body[:2] != b"\x1f\x8b":
        problem = "not a gzip archive"
    else:
        problem = f"not the official archive (MD5 {md5(body)} instead of {expected_md5})"
    raise DownloadError(f"{problem}, {len(body)} bytes", temporary=False)


def fetch(url: str, expected_md5: str) -> bytes:
    """One archive from one mirror, retried after temporary errors; raises DownloadError."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        try:
            body = download(url)
            check(body, expected_md5)
            return body
        except urllib.error.HTTPError as error:
            temporary = error.code in (408, 429) or error.code >= 500
            failure = DownloadError(f"HTTP {error.code} {error.reason}", temporary)
            error.close()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            temporary = not isinstance(reason, ssl.SSLCertVerificationError)
            failure = DownloadError(str(reason) or type(reason).__name__, temporary)
        if not failure.temporary:
            break
    raise failure


def fetch_from_any(name: str, bases: list[str], folder: Path) -> tuple[bytes, str]:
    """One archive from the first mirror that has it, and that mirror; raises DownloadError."""
    failures = []
    for base in bases:
        try:
            return fetch(base + name, ARCHIVES[name]), base
        except DownloadError as error:
            failures.append((base, error))
    problems = "\n".join(f"  {base}: {error}" for base, error in failures)
    raise DownloadError(
        f"no mirror gave {name}:\n{problems}\n"
        f"Either set MNIST_MIRROR to the base URL of a server that has the four archives, or put\n"
        f"them into {folder} by hand: {', '.join(ARCHIVES)}.",
        temporary=any(error.temporary for _, error in failures),
    )


def is_official(path: Path) -> bool:
    """Whether the file exists and is the official archive of its name."""
    return path.exists() and md5(path.read_bytes()) == ARCHIVES[path.name]


def ensure_archives(folder: Path) -> None:
    """Make `folder` hold the four verified archives; raises DownloadError or OSError."""
    bases = mirrors()
    if all(is_official(folder / name) for name in ARCHIVES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".download.lock"):
        remove_temporary_files(folder)
        for name in ARCHIVES:
            path = folder / name
            if is_official(path):
                continue
            if path.exists():
                print(f"{path} is not the official archive: downloading it again", flush=True)
            body, base = fetch_from_any(name, bases, folder)
            write_atomically(path, body)
            print(f"downloaded {name} from {base}", flush=True)
            # Start with the mirror that worked, so that an unreachable one delays only one file.
            bases.sort(key=lambda other: other != base)


def parse_idx(content: bytes) -> np.ndarray:
    """An IDX file of unsigned bytes (LeCun, Cortes, Burges: the MNIST database) as an array.

    Raises ValueError if it is anything else, or if its size does not fit its header.
    """
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    if content[:3] != b"\0\0\x08" or len(content) < start:
        raise ValueError("not an IDX file of unsigned bytes")
    shape = [int(length) for length in np.frombuffer(content, ">u4", dimensions, offset=4)]
    if math.prod(shape) != len(content) - start:
        raise ValueError(f"an IDX file of shape {shape} with {len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file as an array."""
    return parse_idx(gzip.decompress(path.read_bytes()))


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images uint8 [60000, 28, 28] and labels int64 [60000], then 10,000 test images and
    their labels. Raises DownloadError or OSError."""
    ensure_archives(folder)
    arrays = [read_idx(folder / name) for name in ARCHIVES]
    return arrays[0], arrays[1].astype(np.int64), arrays[2], arrays[3].astype(np.int64)


if __name__ == "__main__":
    try:
        ensure_archives(Path(sys.argv[1] if len(sys.argv) > 1 else "data/mnist"))
    except (DownloadError, OSError) as error:
        print(f"mnist: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", os.EX_IOERR))
