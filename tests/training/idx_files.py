"""Datasets and corrections for the tests, in MNIST's file format and with other content."""

import gzip
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import archives
import numpy as np
import pytest
from corrections import NAMES
from drawing import strokes
from torchvision.datasets import MNIST

# A 7 and a 3 in mirror writing: small_data has no similar digits.
STYLE = {7: "66,6 4,4* 42,100", 3: "66,12 38,0 10,14 18,38 46,48* 12,56 4,78 28,99 72,90"}


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as a gzipped IDX file, as MNIST's archives are."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def expect_archives(
    kind: type[MNIST], arrays: Sequence[np.ndarray], patch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """The names and contents of a dataset's archives, which become the official ones."""
    names = [name for name, _ in kind.resources]
    content = dict(zip(names, map(idx, arrays), strict=True))
    checksums = [(name, archives.md5_of(body)) for name, body in content.items()]
    patch.setattr(kind, "resources", checksums)
    patch.setattr(kind, "mirrors", [])
    return content


def save(folder: Path, content: dict[str, bytes]) -> Path:
    """Write files; returns the folder."""
    for name, body in content.items():
        (folder / name).write_bytes(body)
    return folder


class Mirror(BaseHTTPRequestHandler):
    """Answers with the server's content, or as `server.misbehave(self, body)` does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.paths.append(self.path)
        self.server.misbehave(self, self.server.content[self.path.removeprefix("/")])
        self.close_connection = True

    def answer(self, body, status=200, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def mirror(content: dict[str, bytes], misbehave=Mirror.answer) -> Iterator[ThreadingHTTPServer]:
    """A running server of these files, with its `url` and the `paths` asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.content, server.misbehave, server.paths = content, misbehave, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def written(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures of each digit in STYLE, and their labels."""
    rng = np.random.default_rng(seed)
    images = [strokes.draw((template,), count, rng) for template in STYLE.values()]
    return np.concatenate(images), np.repeat(list(STYLE), count)


def tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar file of (name, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file of (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def correction_files(images: np.ndarray, labels: np.ndarray) -> list[tuple[str, bytes]]:
    """The names and contents of MNIST's two training archives with these images and labels."""
    return list(zip(NAMES, (idx(images), idx(labels)), strict=True))


def save_tar(path: Path, count: int = 10, seed: int = 0) -> Path:
    """Write a tar file of `count` pictures of each digit in STYLE; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(correction_files(*written(count, seed))))
    return path
