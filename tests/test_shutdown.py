"""Workers that stop or die lose no request that they do not hold, and none that they answer."""

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from gunicorn_server import Server, running, write_config
from tiny_model import multipart, two_lines, write_model


@pytest.fixture
def start(tmp_path):
    model = write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")
    return lambda: running(tmp_path, MODEL_PATH=str(model))


def ask_until(server, stopped: threading.Event, outcomes: Counter) -> None:
    """Ask on a connection that is kept, as long as the server accepts one; count the outcomes.

    A request counts as lost if the connection was accepted and there is no complete response. On a
    kept connection, a close before any byte of the response is one that clients retry (RFC 9110,
    section 9.2.2), so it counts separately.
    """
    body, content_type = multipart(two_lines(5))
    while not stopped.is_set():
        with closing(server.connect()) as connection:
            try:
                connection.connect()
            except ConnectionError:
                outcomes["not accepted"] += 1
                return
            kept = False
            try:
                while connection.sock and not stopped.is_set():
                    connection.request("POST", "/predict", body, {"Content-Type": content_type})
                    with connection.getresponse() as response:
                        answer = response.status, json.loads(response.read())
                    outcomes["ok" if answer == (200, {"prediction": 5}) else str(answer)] += 1
                    kept = True
            except (http.client.HTTPException, ConnectionError) as error:
                outcomes["closed between requests" if kept else f"lost: {error!r}"] += 1


@contextmanager
def asking(server: Server, clients: int) -> Iterator[Counter]:
    """Let clients ask for the length of a with block; count the outcomes, the right answer as ok.

    The block begins when several requests of each client have been answered.
    """
    outcomes, stopped = Counter(), threading.Event()
    threads = [
        threading.Thread(target=ask_until, args=(server, stopped, outcomes)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        server.wait_until(lambda: outcomes["ok"] > 4 * clients)
        yield outcomes
    finally:
        stopped.set()
        for thread in threads:
            thread.join(60)


def test_no_accepted_request_is_lost_when_the_server_is_stopped(start):
    with start() as server, asking(server, 32) as outcomes:
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert outcomes.pop("not accepted", 0) <= 32
    assert set(outcomes) == {"ok"}, outcomes


def test_a_request_in_flight_is_answered_after_sigterm(start):
    body, content_type = multipart(two_lines(6))
    with start() as server, closing(server.connect()) as connection:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        # A worker has the request, and waits for its body.
        assert connection.sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: is_refused(server))
        connection.send(body)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"prediction": 6})
        assert server.process.wait(60) == 0


def is_refused(server) -> bool:
    """Return whether all workers have stopped listening."""
    try:
        server.open_socket().close()
    except ConnectionError:
        return True
    return False


def test_an_idle_connection_does_not_delay_the_end(tmp_path):
    hours = ("graceful_timeout = 3600", "keepalive = 3600")
    with (
        running(tmp_path, "-c", write_config(tmp_path, *hours)) as server,
        server.open_socket(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as idle,
    ):
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        server.process.terminate()
        assert server.process.wait(60) == 0


def test_a_worker_that_is_killed_loses_only_its_own_requests_and_is_replaced(start):
    with start() as server:
        server.wait_until(lambda: server.read_log().count("serving model") == 2)
        with asking(server, 8) as outcomes:
            os.kill(server.workers()[0], signal.SIGKILL)
            server.wait_until(lambda: server.read_log().count("serving model") == 3)
            before = outcomes["ok"]
            server.wait_until(lambda: outcomes["ok"] > before)
        assert server.ask("GET", "/healthz")[0] == 200
    del outcomes["ok"]
    # At most the one request that each of the eight clients had sent.
    assert outcomes.total() <= 8, outcomes
