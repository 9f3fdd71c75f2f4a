"""The data: MNIST from folders and from real HTTP servers that misbehave, the split, batches."""

import gzip
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import archives
import dataset
import numpy as np
import pytest
import torch
from idx_files import idx
from process import Failure
from torchvision.datasets import MNIST

NAMES = [name for name, _ in MNIST.resources]
RANDOM = np.random.default_rng(0)
ARRAYS = [RANDOM.integers(0, 10, shape) for shape in ((30, 28, 28), 30, (20, 28, 28), 20)]
CONTENT = dict(zip(NAMES, map(idx, ARRAYS), strict=True))


class Mirror(BaseHTTPRequestHandler):
    """Answers with CONTENT, or as `server.misbehave(self, body)` does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.paths.append(self.path)
        self.server.misbehave(self, CONTENT[self.path.rsplit("/", 1)[-1]])
        self.close_connection = True

    def answer(self, body, status=200, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def start_mirror():
    """start_mirror(misbehave) gives a running server with `url` and the `paths` asked for."""
    servers = []

    def start(misbehave=Mirror.answer):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
        server.misbehave, server.paths = misbehave, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def small_archives(monkeypatch):
    """CONTENT's checksums in place of the official ones, no public mirror, no long waits."""
    checksums = [(name, archives.md5_of(body)) for name, body in CONTENT.items()]
    monkeypatch.setattr(MNIST, "resources", checksums)
    monkeypatch.setattr(MNIST, "mirrors", [])
    monkeypatch.setattr(archives, "BACKOFF_SECONDS", 0.01)
    monkeypatch.delenv("MNIST_MIRROR", raising=False)


# What a mirror does, what the message says, and whether asking again may help.
MISBEHAVIOUR = {
    "truncated": (lambda m, body: m.answer(body[:-50], length=len(body)), "50 more expected", True),
    "corrupted": (lambda m, body: m.answer(body[:-1] + b"x"), "something else instead", False),
    "not found": (lambda m, _: m.answer(b"no", 404), "HTTP Error 404", False),
    "forbidden": (lambda m, _: m.answer(b"no", 403), "HTTP Error 403", False),
    "overloaded": (lambda m, _: m.answer(b"later", 503), "HTTP Error 503", True),
    "web page": (lambda m, _: m.answer(b"\n<!DOCTYPE html>Log in"), "a web page instead", False),
    "hangs": (lambda m, _: m.rfile.read(), "timed out", True),  # until the client gives up
    "hangs up": (lambda m, _: None, "closed connection without response", True),
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_when_no_mirror_is_good_the_message_names_each_and_its_problem(
    kind, start_mirror, tmp_path, monkeypatch
):
    misbehave, words, temporary = MISBEHAVIOUR[kind]
    if kind == "hangs":  # only here: a good mirror may be slow on a busy machine
        monkeypatch.setattr(archives, "TIMEOUT_SECONDS", 0.2)
    first, second = start_mirror(misbehave), start_mirror(misbehave)
    monkeypatch.setenv("MNIST_MIRROR", f"{first.url},{second.url}")
    with pytest.raises(Failure) as raised:
        dataset.mnist(tmp_path)
    message = str(raised.value)
    for expected in (f"{first.url}: {NAMES[0]}: ", f"{second.url}: ", words, str(tmp_path)):
        assert expected in message
    assert "\n" not in message
    assert raised.value.exit_code == (os.EX_UNAVAILABLE if temporary else os.EX_DATAERR)
    assert len(first.paths) == len(second.paths) == (3 if temporary else 1)
    assert [path.name for path in (tmp_path / "MNIST" / "raw").iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [kind for kind in MISBEHAVIOUR if kind != "hangs"])
def test_after_an_own_mirror_that_misbehaves_the_public_one_is_used(
    kind, start_mirror, tmp_path, monkeypatch
):
    bad, good = start_mirror(MISBEHAVIOUR[kind][0]), start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", f"{bad.url.rstrip('/')}, ")
    monkeypatch.setattr(MNIST, "mirrors", [good.url])
    data = dataset.mnist(tmp_path)
    assert all(np.array_equal(*pair) for pair in zip(ARRAYS, data, strict=True))
    assert [part.dtype for part in data[:2]] == [torch.uint8, torch.int64]
    assert (len(bad.paths), len(good.paths)) == (1, 4)


def test_a_temporary_failure_of_the_only_mirror_is_survived(start_mirror, tmp_path, monkeypatch):
    statuses = iter([503, 429])
    mirror = start_mirror(lambda mirror, body: mirror.answer(body, next(statuses, 200)))
    monkeypatch.setenv("MNIST_MIRROR", mirror.url)
    dataset.mnist(tmp_path)
    assert len(mirror.paths) == 4 + 2


def save_raw(folder, content):
    """torchvision's layout of extracted files in `folder`."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, body in content.items():
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress(body))
    return raw


def test_a_folder_in_the_layout_of_torchvision_is_used_as_it_is(tmp_path):
    raw = save_raw(tmp_path, CONTENT)
    raw.chmod(0o555)
    before = sorted(raw.iterdir())
    assert len(dataset.mnist(tmp_path)[0]) == 30
    assert sorted(raw.iterdir()) == before


def test_archives_that_are_already_in_the_folder_need_no_network(tmp_path):
    for name, body in CONTENT.items():
        (tmp_path / name).write_bytes(body)
    assert len(dataset.mnist(tmp_path)[2]) == 20


@pytest.mark.parametrize("damage", ["archive", "extracted"])
def test_a_damaged_file_never_counts_as_complete(damage, start_mirror, tmp_path, monkeypatch):
    raw = save_raw(tmp_path, CONTENT)
    name = NAMES[2]
    for other in NAMES:
        (raw / other).write_bytes(CONTENT[other])
    extracted = raw / name.removesuffix(".gz")
    extracted.write_bytes(extracted.read_bytes()[:-1])  # by an interrupted download
    if damage == "archive":
        (raw / name).write_bytes(CONTENT[name][:-1])
    mirror = start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", mirror.url)
    assert len(dataset.mnist(tmp_path)[2]) == 20
    assert mirror.paths == (["/" + name] if damage == "archive" else [])


@pytest.mark.parametrize(
    ("mirror", "code", "words"),
    [
        ("my-server/mnist", 2, "'my-server/mnist' must start with http"),
        ("http://127.0.0.1:1", os.EX_UNAVAILABLE, "Connection refused"),
    ],
)
def test_a_failed_download_ends_the_training_with_its_exit_code_and_one_line(
    mirror, code, words, tmp_path, monkeypatch, capsys, main
):
    monkeypatch.setenv("MNIST_MIRROR", mirror)
    flags = ("--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "out"))
    assert main(*flags) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_an_invalid_certificate_is_wrong_data_and_is_not_retried(
    start_mirror, tmp_path, monkeypatch
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    files = ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    mirror = start_mirror()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    attempts = []
    context.sni_callback = lambda *_: attempts.append(1)
    mirror.handle_error = lambda *_: None  # the client hangs up
    mirror.socket = context.wrap_socket(mirror.socket, server_side=True)
    monkeypatch.setenv("MNIST_MIRROR", mirror.url.replace("http://127.0.0.1", "https://localhost"))
    with pytest.raises(Failure, match="certificate verify failed") as raised:
        dataset.mnist(tmp_path)
    assert raised.value.exit_code == os.EX_DATAERR
    assert (len(attempts), mirror.paths) == (1, [])


def test_the_last_5000_training_images_are_held_out(monkeypatch):
    images = torch.arange(6_000).view(-1, 1, 1).expand(-1, 28, 28)
    labels, test = torch.arange(6_000) % 7, (torch.zeros(3, 28, 28), torch.tensor([7, 8, 9]))
    monkeypatch.setattr(dataset, "ADDED_DIGITS", 20)
    monkeypatch.setattr(dataset, "NON_DIGITS", 10)
    source = dataset.DATASETS["mnist"]._replace(load=lambda *_: (images, labels, *test))
    monkeypatch.setitem(dataset.DATASETS, "mnist", source)
    data = dataset.load_dataset("mnist", "folder", seed=0)
    assert data.train[:, 0, 0].tolist() == list(range(1_000))
    assert torch.equal(data.train_labels, labels[:1_000])
    assert torch.equal(data.held_out_labels, labels[1_000:])
    assert data.held_out[:, 0, 0].tolist() == list(range(1_000, 6_000))
    assert data.test_labels.tolist() == [7, 8, 9]
    assert data.added.shape == (20, 28, 28)
    assert data.non_digits.shape == (10, 28, 28)


def test_the_synthetic_parts_have_no_image_in_common(monkeypatch):
    # As many in the first draw as in the second one, so that the same seed would draw the same.
    counts = {"SYNTHETIC_TRAIN": 60, "HELD_OUT": 40, "SYNTHETIC_TEST": 100}
    counts |= {"ADDED_DIGITS": 10, "NON_DIGITS": 10}
    for name, count in counts.items():
        monkeypatch.setattr(dataset, name, count)
    data = dataset.load_dataset("synthetic", "nowhere", seed=1)
    parts = [{image.numpy().tobytes() for image in part} for part in data[:6:2]]
    assert [len(part) for part in parts] == [60, 40, 100]
    assert len(set.union(*parts)) == 200


def test_images_come_in_another_order_in_every_epoch():
    epochs = (dataset.batches(256, range(2 * e, 2 * e + 2), 2, 128, 0) for e in range(2))
    orders = [torch.cat([chosen for _, chosen in epoch]) for epoch in epochs]
    assert not torch.equal(*orders)
    assert all(sorted(order.tolist()) == list(range(256)) for order in orders)


def test_two_ranks_share_the_images_of_a_step_and_draw_other_random_numbers(monkeypatch):
    def step(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        ((_, indices),) = dataset.batches(1000, range(1), per_epoch=1, batch=128, seed=0)
        return indices.tolist(), torch.rand(3).tolist()

    whole, numbers = step()
    shares = [step(RANK=rank, WORLD_SIZE="2") for rank in ("0", "1")]
    assert sorted(shares[0][0] + shares[1][0]) == sorted(whole)
    assert shares[0][1] == numbers
    assert shares[1][1] != numbers
