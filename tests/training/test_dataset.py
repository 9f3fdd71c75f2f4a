"""The data: MNIST from folders and from real HTTP servers that misbehave, the split, batches."""

import gzip
import os
import ssl
import subprocess
from contextlib import ExitStack

import archives
import dataset
import numpy as np
import pytest
import torch
from drawing.synthetic import draw_digits
from idx_files import expect_archives, idx, mirror, save
from process import Failure
from torchvision.datasets import MNIST

NAMES = [name for name, _ in MNIST.resources]
RANDOM = np.random.default_rng(0)
ARRAYS = [RANDOM.integers(0, 10, shape) for shape in ((30, 28, 28), 30, (20, 28, 28), 20)]


@pytest.fixture(autouse=True)
def content(monkeypatch):
    """ARRAYS in place of the official archives, no public mirror, no long waits."""
    monkeypatch.setattr(archives, "BACKOFF_SECONDS", 0.01)
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    return expect_archives(MNIST, ARRAYS, monkeypatch)


@pytest.fixture
def start_mirror(content):
    """start_mirror(misbehave) gives a running server with `url` and the `paths` asked for."""
    with ExitStack() as stack:
        yield lambda *misbehave: stack.enter_context(mirror(content, *misbehave))


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
    (line,) = str(raised.value).splitlines()
    for expected in (f"{first.url}: {NAMES[0]}: ", f"{second.url}: ", words, str(tmp_path)):
        assert expected in line
    assert raised.value.exit_code == (os.EX_UNAVAILABLE if temporary else os.EX_DATAERR)
    assert len(first.paths) == len(second.paths) == (3 if temporary else 1)
    assert [path.name for path in (tmp_path / "MNIST" / "raw").iterdir()] == [".lock"]


def test_after_an_own_mirror_that_misbehaves_the_public_one_is_used(
    start_mirror, tmp_path, monkeypatch
):
    bad, good = start_mirror(MISBEHAVIOUR["corrupted"][0]), start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", f"{bad.url.rstrip('/')}, ")
    monkeypatch.setattr(MNIST, "mirrors", [good.url])
    data = dataset.mnist(tmp_path)
    assert all(np.array_equal(*pair) for pair in zip(ARRAYS, data, strict=True))
    assert [part.dtype for part in data[:2]] == [torch.uint8, torch.int64]
    assert (len(bad.paths), len(good.paths)) == (1, 4)


def test_a_temporary_failure_of_the_only_mirror_is_survived(start_mirror, tmp_path, monkeypatch):
    statuses = iter([503, 429])
    server = start_mirror(lambda mirror, body: mirror.answer(body, next(statuses, 200)))
    monkeypatch.setenv("MNIST_MIRROR", server.url)
    dataset.mnist(tmp_path)
    assert len(server.paths) == 4 + 2


def extract(folder, content):
    """Extract archives into torchvision's layout in `folder`; returns the folder with the files."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    return save(raw, {name[:-3]: gzip.decompress(body) for name, body in content.items()})


def test_a_folder_in_the_layout_of_torchvision_is_used_as_it_is(content, tmp_path):
    raw = extract(tmp_path, content)
    raw.chmod(0o555)
    before = sorted(raw.iterdir())
    assert len(dataset.mnist(tmp_path)[0]) == 30
    assert sorted(raw.iterdir()) == before


def test_archives_that_are_already_in_the_folder_need_no_network(content, tmp_path):
    assert len(dataset.mnist(save(tmp_path, content))[2]) == 20


@pytest.mark.parametrize("damaged", [NAMES[2], NAMES[2][:-3]], ids=["archive", "extracted"])
def test_a_damaged_file_never_counts_as_complete(
    damaged, content, start_mirror, tmp_path, monkeypatch
):
    raw = save(extract(tmp_path, content), content)
    for name in (NAMES[2][:-3], damaged):
        (raw / name).write_bytes((raw / name).read_bytes()[:-1])  # by an interrupted download
    server = start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", server.url)
    assert len(dataset.mnist(tmp_path)[2]) == 20
    assert server.paths == ([f"/{damaged}"] if damaged in content else [])


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (np.zeros((5_100, 28, 28)), np.zeros(5_100), "100 training images and 5000 held-out ones"),
        (np.zeros((3_000, 28, 28)), np.zeros(3_000), "0 training images and 3000 held-out ones"),
        (np.zeros((6_000, 32, 32)), np.zeros(6_000), "images (6000, 32, 32) and"),
        (np.zeros((6_000, 28, 28)), np.full(6_000, 10), "labels from 0 to 9"),
        (np.zeros((6_000, 28, 28)), np.zeros(5_999), "labels (5999,)"),
    ],
    ids=["less than a batch", "less than is held out", "other size", "eleven classes", "no label"],
)
def test_data_that_do_not_fit_end_the_training_with_65_and_one_line(
    images, labels, problem, main, tmp_path, capsys
):
    extract(tmp_path, dict(zip(NAMES, map(idx, (images, labels) * 2), strict=True)))
    flags = ("--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"))
    assert main(*flags) == os.EX_DATAERR
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_an_invalid_certificate_is_wrong_data_and_is_not_retried(
    start_mirror, tmp_path, monkeypatch
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    files = ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    server = start_mirror()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    attempts = []
    context.sni_callback = lambda *_: attempts.append(1)
    server.handle_error = lambda *_: None  # the client hangs up
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("MNIST_MIRROR", server.url.replace("http://127.0.0.1", "https://localhost"))
    with pytest.raises(Failure, match="certificate verify failed") as raised:
        dataset.mnist(tmp_path)
    assert raised.value.exit_code == os.EX_DATAERR
    assert (len(attempts), server.paths) == (1, [])


def test_the_last_5000_training_images_are_held_out(monkeypatch):
    images = torch.arange(6_000).view(-1, 1, 1).expand(-1, 28, 28)
    labels, test = torch.arange(6_000) % 7, (torch.zeros(3, 28, 28), torch.tensor([7, 8, 9]))
    for name, count in (("DRAWN_DIGITS", 10), ("WORN_DIGITS", 0), ("NON_DIGITS", 5)):
        monkeypatch.setattr(dataset, name, count)
    source = dataset.DATASETS["mnist"]._replace(load=lambda *_: (images, labels, *test))
    monkeypatch.setitem(dataset.DATASETS, "mnist", source)
    data = dataset.load_dataset("mnist", "folder", seed=0, epochs=2)
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
    counts |= {"DRAWN_DIGITS": 10, "WORN_DIGITS": 10, "NON_DIGITS": 10}
    for name, count in counts.items():
        monkeypatch.setattr(dataset, name, count)
    data = dataset.load_dataset("synthetic", "nowhere", seed=1, epochs=1)
    parts = [{image.numpy().tobytes() for image in part} for part in data[:6:2]]
    assert [len(part) for part in parts] == [60, 40, 100]
    assert len(set.union(*parts)) == 200


def test_worn_copies_of_the_training_digits_follow_the_drawn_ones():
    digits = draw_digits(100, seed=1)
    images, labels = dataset.added_digits(
        *map(torch.from_numpy, digits), drawn=20, worn=100, seed=0
    )
    assert len(images) == len(labels) == 120
    assert labels[20:].bincount().tolist() == [10] * 10
    originals = {image.tobytes() for image in digits[0]}
    unchanged = originals & {image.numpy().tobytes() for image in images}
    assert len(unchanged) < 20  # 1s get no line, and some digits lose nothing at their edges


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
