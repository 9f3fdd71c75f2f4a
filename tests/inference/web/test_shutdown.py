"""Workers that stop or die lose no request that they do not hold, and none that they answer."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from gunicorn_server import Server, running, write_config
from load import send
from tiny_model import multipart, two_lines


@contextmanager
def asking(server: Server, clients: int) -> Iterator[Counter]:
    """Let clients ask as in load.py for the length of a with block; yield their counts.

    The block begins when several requests of each client have been answered.
    """
    counts, ended = Counter(), threading.Event()
    arguments = (server.url, ended, counts, [], 60)
    threads = [threading.Thread(target=send, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        server.wait_until(lambda: counts["requests"] > 4 * clients)
        yield counts
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def failures(counts: Counter) -> Counter:
    return Counter({name: count for name, count in counts.items() if name.startswith("failed")})


def test_no_accepted_request_is_lost_when_the_server_is_stopped(tmp_path, model_file):
    with running(tmp_path, MODEL_PATH=str(model_file)) as server, asking(server, 16) as counts:
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert all("ConnectionRefusedError" in name for name in failures(counts)), counts


def test_a_worker_that_is_killed_loses_only_its_own_requests_and_is_replaced(tmp_path, model_file):
    with running(tmp_path, MODEL_PATH=str(model_file)) as server:
        server.wait_until(lambda: server.read_log().count("serving model") == 2)
        with asking(server, 8) as counts:
            os.kill(server.workers()[0], signal.SIGKILL)
            server.wait_until(lambda: server.read_log().count("serving model") == 3)
            before = counts["requests"]
            server.wait_until(lambda: counts["requests"] > before + 8)
        assert server.ask("GET", "/healthz")[0] == 200
    # At most the one request that each of the eight clients had sent.
    assert failures(counts).total() <= 8, counts


def test_a_request_in_flight_is_answered_after_sigterm(tmp_path, model_path):
    body, content_type = multipart(two_lines(6))
    with (
        running(tmp_path, MODEL_PATH=str(model_path)) as server,
        closing(server.connect()) as connection,
    ):
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
