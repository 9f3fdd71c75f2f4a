"""A server that is stopped loses no request that it has accepted."""

import json
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from gunicorn_server import running, write_config
from load import send
from tiny_model import multipart, two_lines


def test_no_accepted_request_is_lost_when_the_server_is_stopped(tmp_path, model_file):
    counts, ended = Counter(), threading.Event()
    with running(tmp_path, MODEL_PATH=str(model_file)) as server, ThreadPoolExecutor(16) as pool:
        tasks = [pool.submit(send, server.url, ended, counts, [], 60) for _ in range(16)]
        try:
            server.wait_until(lambda: counts["requests"] > 64)
            server.process.terminate()
            assert server.process.wait(60) == 0
        finally:
            ended.set()
    for task in tasks:
        task.result()
    failed = [name for name in counts if name.startswith("failed")]
    assert all("ConnectionRefusedError" in name for name in failed), counts


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


def test_a_worker_that_is_stopped_before_it_has_started_ends(tmp_path):
    settings = """
hook = post_fork

def post_fork(server, worker):
    if worker.age == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    hook(server, worker)
"""
    with running(tmp_path, "-c", write_config(tmp_path, settings)) as server:
        first = server.workers()[0]
        server.wait_until(lambda: f"Worker exiting (pid: {first})" in server.read_log())
