"""The download of MNIST against real HTTP servers that misbehave as mirrors do."""

import os
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mnist
import numpy as np
import pytest
from conftest import idx

RANDOM = np.random.default_rng(0)
CONTENT = {
    name: idx(RANDOM.integers(0, 10, (20, 28, 28) if "images" in name else (20,)))
    for name in mnist.ARCHIVES
}


class Mirror(BaseHTTPRequestHandler):
    """Answers with CONTENT, after what `server.misbehave(self, body)` did to it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.paths.append(self.path)
        body = CONTENT[self.path.rsplit("/", 1)[-1]]
        body = self.server.misbehave(self, body)
        if body is not None:
            self.answer(200, body)

    def answer(self, status, body, content_type="application/gzip", length=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def start_mirror():
    """start_mirror(misbehave) gives a running server with `url` and the `paths` asked for."""
    servers = []

    def start(misbehave=lambda handler, body: body):
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
    checksums = {name: mnist.md5(body) for name, body in CONTENT.items()}
    monkeypatch.setattr(mnist, "ARCHIVES", checksums)
    monkeypatch.setattr(mnist, "PUBLIC_MIRRORS", ())
    monkeypatch.setattr(mnist, "BACKOFF_SECONDS", 0.01)
    monkeypatch.delenv("MNIST_MIRROR", raising=False)


def drip(handler, body):
    """Send a byte now and then, so that no single read times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    try:
        for byte in body[:100]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.1)
    except OSError:
        handler.close_connection = True


def hang(handler, _body):
    handler.rfile.read()  # until the client gives up
    handler.close_connection = True


def hang_up(handler, _body):
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


# Only for the mirrors that need them: a good mirror may be slow on a busy machine.
TIMEOUTS = {"hangs": ("READ_TIMEOUT_SECONDS", 1), "drips": ("ARCHIVE_TIMEOUT_SECONDS", 0.5)}


MISBEHAVIOUR = {
    "truncated": (
        lambda handler, body: handler.answer(200, body[:-50], length=len(body)),
        "truncated after",
        True,
    ),
    "corrupted": (lambda handler, body: body[:100] + b"\0" + body[101:], "not the official", False),
    "not found": (lambda handler, body: handler.answer(404, b"no"), "HTTP 404", False),
    "forbidden": (lambda handler, body: handler.answer(403, b"no"), "HTTP 403", False),
    "overloaded": (lambda handler, body: handler.answer(503, b"later"), "HTTP 503", True),
    "web page": (lambda handler, body: b"\n<!DOCTYPE html><p>Log in", "a web page", False),
    "plain text": (lambda handler, body: b"hello", "not a gzip archive", False),
    "hangs": (hang, "timed out", True),
    "drips": (drip, "not complete after 0.5 s", True),
    "hangs up": (hang_up, "Remote end closed connection without response", True),
}


def shorten_timeout(kind, monkeypatch):
    if kind in TIMEOUTS:
        name, seconds = TIMEOUTS[kind]
        monkeypatch.setattr(mnist, name, seconds)


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_a_mirror_that_misbehaves_is_refused_and_the_next_one_is_used(
    kind, start_mirror, tmp_path, monkeypatch
):
    misbehave, _, retried = MISBEHAVIOUR[kind]
    shorten_timeout(kind, monkeypatch)
    bad, good = start_mirror(misbehave), start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", f"{bad.url}, {good.url}")
    mnist.ensure_archives(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.gz")} == CONTENT
    assert len(bad.paths) == (mnist.ATTEMPTS if retried else 1), "asked again only where it helps"
    assert len(good.paths) == len(CONTENT)


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_when_all_mirrors_fail_the_message_names_each_the_problem_and_the_ways_out(
    kind, start_mirror, tmp_path, monkeypatch
):
    misbehave, words, temporary = MISBEHAVIOUR[kind]
    shorten_timeout(kind, monkeypatch)
    first, second = start_mirror(misbehave), start_mirror(misbehave)
    monkeypatch.setenv("MNIST_MIRROR", f"{first.url},{second.url}")
    with pytest.raises(mnist.DownloadError) as raised:
        mnist.ensure_archives(tmp_path)
    message = str(raised.value)
    for expected in (f"{first.url}: ", f"{second.url}: ", words, "MNIST_MIRROR", str(tmp_path)):
        assert expected in message
    assert raised.value.temporary is temporary
    assert [path.name for path in tmp_path.iterdir()] == [".download.lock"]


def test_temporary_failures_are_retried(start_mirror, tmp_path, monkeypatch):
    failures = iter([503, 429])

    def fail_twice(handler, body):
        status = next(failures, None)
        return handler.answer(status, b"later") if status else body

    mirror = start_mirror(fail_twice)
    monkeypatch.setenv("MNIST_MIRROR", mirror.url)
    mnist.ensure_archives(tmp_path)
    assert len(mirror.paths) == len(CONTENT) + 2


def test_archives_that_are_already_in_the_folder_need_no_network(tmp_path):
    for name, body in CONTENT.items():
        (tmp_path / name).write_bytes(body)
    images, labels, test_images, test_labels = mnist.load(tmp_path)
    assert images.shape == test_images.shape == (20, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == test_labels.shape == (20,)
    assert labels.dtype == np.int64
    assert idx(images) == CONTENT["train-images-idx3-ubyte.gz"]


def test_a_damaged_archive_on_disk_is_downloaded_again(start_mirror, tmp_path, monkeypatch, capsys):
    for name, body in CONTENT.items():
        (tmp_path / name).write_bytes(body)
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(b"damaged")
    mirror = start_mirror()
    monkeypatch.setenv("MNIST_MIRROR", mirror.url.rstrip("/"))
    mnist.ensure_archives(tmp_path)
    assert damaged.read_bytes() == CONTENT[damaged.name]
    assert mirror.paths == ["/" + damaged.name]
    assert "not the official archive" in capsys.readouterr().out


def test_own_mirrors_come_before_the_public_ones(monkeypatch):
    monkeypatch.setattr(mnist, "PUBLIC_MIRRORS", ("https://public/",))
    monkeypatch.setenv("MNIST_MIRROR", "http://one/a, https://two/")
    assert mnist.mirrors() == ["http://one/a/", "https://two/", "https://public/"]


def test_a_mirror_that_is_not_a_url_is_refused_with_an_explanation(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", "my-server/mnist")
    with pytest.raises(
        mnist.DownloadError, match="'my-server/mnist' must start with http"
    ) as raised:
        mnist.ensure_archives(tmp_path)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(("kind", "code"), [("overloaded", 69), ("not found", 65)])
def test_a_failed_download_ends_the_training_with_its_exit_code_and_one_message(
    kind, code, start_mirror, tmp_path, monkeypatch, capsys, main
):
    mirror = start_mirror(MISBEHAVIOUR[kind][0])
    monkeypatch.setenv("MNIST_MIRROR", mirror.url)
    assert main("--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path)) == code
    message = capsys.readouterr().err
    assert message.startswith("train: no mirror gave train-images-idx3-ubyte.gz:")
    assert "Traceback" not in message


def test_an_invalid_certificate_is_wrong_data_and_is_not_retried(
    start_mirror, tmp_path, monkeypatch, capsys, main
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
    flags = ("--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "out"))
    assert main(*flags) == os.EX_DATAERR
    assert "certificate verify failed" in capsys.readouterr().err
    assert (len(attempts), mirror.paths) == (1, [])
