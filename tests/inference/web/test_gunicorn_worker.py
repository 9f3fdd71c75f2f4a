"""The server as it is deployed, over HTTP: gunicorn with its own settings and real sockets."""

import json
import socket
from contextlib import suppress

import pytest
from gunicorn_server import BODY_HEAD, read_until_closed, running_tiny
from tiny_model import multipart, two_lines


def send(server, data: bytes) -> bytes:
    """Return all that the server sends back on a connection for `data` and an end of file."""
    with server.open_socket(data) as connection:
        connection.shutdown(socket.SHUT_WR)
        return read_until_closed(connection)


def test_the_server_leaves_nothing_in_the_home_directory(tiny_server):
    assert tiny_server.ask("POST", "/predict", *multipart(two_lines(1)))[0] == 200
    # Neither onnxruntime's device id nor gunicorn's socket.
    assert list((tiny_server.stderr.parent / "home").rglob("*")) == []


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_that_sends_all_before_it_listens_still_gets_the_413(tiny_server, chunked):
    body = bytes(50_000_000)
    sent = iter([body]) if chunked else body
    response, _ = tiny_server.request("POST", "/predict", sent, {"Content-Type": "image/png"})
    assert response.status == 413


def test_a_client_that_never_stops_sending_is_cut_off(tmp_path):
    head, sent = BODY_HEAD.replace(b"100000", b"200000000"), 0
    with (
        running_tiny(tmp_path, "request_body.DRAIN_SECONDS = 60") as server,
        server.open_socket(head) as connection,
        suppress(ConnectionError),
    ):
        while sent < 200:
            connection.sendall(bytes(1_000_000))
            sent += 1
    assert sent < 100, "megabytes"


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
