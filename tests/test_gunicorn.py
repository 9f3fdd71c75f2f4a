"""The server as it is deployed, over HTTP: gunicorn with its own settings and real sockets."""

import json
import re
import shutil
import socket
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import multipart, two_lines

MEBIBYTE = 2**20
UNLIMITED_UPLOAD = 200 * MEBIBYTE


def send(server, data: bytes) -> bytes:
    """Return all that the server sends back on a connection for `data` and an end of file."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        received = b""
        with suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                received += data
    return received


def test_the_server_leaves_nothing_in_the_home_directory(tiny_server):
    assert tiny_server.ask("POST", "/predict", *multipart(two_lines(1)))[0] == 200
    # Neither onnxruntime's device id nor gunicorn's socket.
    assert list((tiny_server.stderr.parent / "home").rglob("*")) == []


@pytest.mark.skipif(not shutil.which("curl"), reason="needs the program curl")
@pytest.mark.parametrize(
    "options",
    [
        ["-F", "file=@large.bin"],
        ["-F", "file=@large.bin", "-H", "Transfer-Encoding: chunked"],
        ["-F", "file=@large.bin", "-H", "Expect:", "-H", "Connection: close"],
        ["-F", "file=@large.bin", "--http1.0"],
        ["-T", "large.bin", "-X", "POST", "-H", "Content-Type: image/png"],
    ],
    ids=["expect", "chunked", "close", "http 1.0", "upload"],
)
def test_a_client_that_sends_all_before_it_listens_still_gets_the_413(
    tiny_server, tmp_path, options
):
    (tmp_path / "large.bin").write_bytes(bytes(50 * MEBIBYTE))
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *options]
    command.append(f"{tiny_server.url}/predict")
    curl = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert curl.returncode == 0, curl.stderr
    assert "4 MiB" in json.loads(curl.stdout)["error"]


def test_a_client_that_never_stops_sending_is_cut_off(tiny_server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    piece, sent = bytes(MEBIBYTE), 0
    with socket.create_connection(("127.0.0.1", tiny_server.port), timeout=60) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % UNLIMITED_UPLOAD)
        with suppress(ConnectionError):
            while sent < UNLIMITED_UPLOAD:
                connection.sendall(piece)
                sent += len(piece)
    assert sent < UNLIMITED_UPLOAD / 2


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabc", b"3\r\nabcdef\r\n"])
def test_malformed_chunks_are_rejected_with_400(tiny_server, body):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    received = send(tiny_server, head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nTransfer-Encoding: foo", 400),
        (b"GET /\x00 HTTP/7.1", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 9000, 431),
        (b"GET / HTTP/1.1\r\nBad header", 400),
    ],
)
def test_an_invalid_request_gets_a_json_error_that_blames_the_client(
    tiny_server, request_head, status
):
    head, _, body = send(tiny_server, request_head + b"\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"Content-Type: application/json" in head
    assert b"Retry-After" not in head
    assert set(json.loads(body)) == {"error"}


TOKENS = [
    *(b"GET", b"POST", b"OPTIONS", b" ", b"/", b"/predict", b"/healthz", b"?segment=1", b"%00"),
    *(b"/v2/models/mnist/infer", b"http://x", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r"),
    *(b"Host: x", b"Content-Length: ", b"Transfer-Encoding: chunked", b"0", b"5", b"-1", b"ffff"),
    *(b"Content-Type: multipart/form-data; boundary=e", b"--e", b"image/png", b"Upgrade: h2c"),
    *(b"Inference-Header-Content-Length: ", b"\xff\xfe", b"\0", b": ", b"{", b'"image"', b"["),
    *(b"Expect: 100-continue", b"Connection: keep-alive", b"name=file; filename=", b"\xe9.png"),
    b'Content-Disposition: form-data; name="file"',
]
VALID_STARTS = [
    b"",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n",
    b"POST /v2/models/mnist/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n",
]


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    start=st.sampled_from(VALID_STARTS),
    pieces=st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=20),
)
def test_no_bytes_on_a_connection_cause_a_server_error(tiny_server, start, pieces):
    received = send(tiny_server, start + b"".join(pieces) + b"\r\n\r\n")
    statuses = re.findall(rb"^HTTP/1\.1 (\d+) ", received, re.MULTILINE)
    assert all(status < b"500" for status in statuses), received
