"""Idle, slow and too many clients do not keep the others waiting; every wait has a deadline."""

import resource
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from gunicorn_server import running, write_config
from PIL import Image
from tiny_model import encoded, multipart, write_model

VERSION = "aaaaaaaaaaaa"
BODY_HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
SLOW_STARTS = {
    "request line": b"GET /heal",
    "header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "body": BODY_HEAD,
    "drain": BODY_HEAD.replace(b"/predict", b"/nowhere"),
    "HTTP/1.0 without close": b"GET /healthz HTTP/1.0\r\n\r\n",
}


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """Let this process open as many connections as the tests need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard > 0 else 4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def start(tmp_path):
    """start(*lines, **environment) runs one worker with the settings and then these lines."""
    with ExitStack() as stack:

        def start_and_stop_later(*lines, **environment):
            model = write_model(tmp_path / "model.onnx", VERSION)
            config = write_config(tmp_path, "gunicorn_worker.LINGER_SECONDS = 0", *lines)
            environment = {"WEB_CONCURRENCY": "1", "MODEL_PATH": str(model)} | environment
            return stack.enter_context(running(tmp_path, "-c", config, **environment))

        yield start_and_stop_later


def connect(server, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(data)
    return connection


def latencies(server, count: int = 50) -> list[float]:
    """Return the seconds that requests for /healthz take, each on a connection of its own."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        assert server.ask("GET", "/healthz")[0] == 200
        seconds.append(time.perf_counter() - started)
    return seconds


@contextmanager
def trickling(connections, interval: float = 0.2):
    """Send one more byte on each connection every `interval` seconds."""
    stopped = threading.Event()

    def trickle():
        while not stopped.wait(interval):
            for connection in connections:
                with suppress(OSError):
                    connection.send(b"a", socket.MSG_DONTWAIT)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def seconds_until_closed(connection) -> float:
    started = time.perf_counter()
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return time.perf_counter() - started


def worker_kilobytes(server) -> int:
    status = Path(f"/proc/{server.workers()[0]}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def open_files(server) -> int:
    return len(list(Path(f"/proc/{server.workers()[0]}/fd").iterdir()))


def test_a_thousand_idle_and_200_slow_clients_do_not_delay_the_others(start):
    server = start()
    before = worker_kilobytes(server)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connect(server))
        slow = [
            stack.enter_context(connect(server, data))
            for data in SLOW_STARTS.values()
            for _ in range(40)
        ]
        with trickling(slow):
            seconds = latencies(server)
        grown = worker_kilobytes(server) - before
    assert statistics.median(seconds) < 0.1
    assert max(seconds) < 1
    assert grown / 1200 < 40, "kB for each open connection"


@pytest.mark.parametrize("case", SLOW_STARTS)
def test_a_client_that_sends_one_byte_at_a_time_is_cut_off(start, case):
    """One that sends nothing after the start is cut off by the same deadline."""
    server = start(
        "keepalive = 1", "gunicorn_worker.BODY_SECONDS = 1", "gunicorn_worker.DRAIN_SECONDS = 1"
    )
    started = SLOW_STARTS[case]
    with connect(server, started) as slow, connect(server, started) as silent:
        with trickling([slow], 0.1):
            assert seconds_until_closed(slow) < 5
        assert seconds_until_closed(silent) < 5


def test_a_connection_on_which_nothing_is_sent_is_closed(start):
    with connect(start("keepalive = 1")) as connection:
        assert 0.5 < seconds_until_closed(connection) < 3


def test_a_slow_body_is_answered_with_408(start):
    server = start("gunicorn_worker.BODY_SECONDS = 0.5")
    with connect(server, BODY_HEAD + b"start") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_its_responses_is_cut_off(start):
    server = start("gunicorn_worker.REQUEST_SECONDS = 1")
    before = open_files(server)
    with connect(server) as connection:
        connection.settimeout(2)
        with suppress(OSError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        server.wait_until(lambda: open_files(server) <= before, 5)


def test_past_the_limit_of_connections_the_oldest_idle_ones_are_closed(start):
    server = start("worker_connections = 100")
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(150)]
        assert max(latencies(server, 10)) < 1
        assert seconds_until_closed(idle[0]) < 1
        assert open_files(server) < 150


def test_past_the_limit_of_busy_connections_the_answer_is_503(start):
    server = start("worker_connections = 20")
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(server, BODY_HEAD))
        server.wait_until(lambda: open_files(server) > 25)
        with connect(server) as connection:
            answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer


def test_a_low_limit_of_open_files_leaves_files_for_other_uses(start):
    server = start(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))",
        "exec(open(__file__).read())",
    )
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(connect(server))
        assert max(latencies(server, 10)) < 1
        assert server.ask("POST", "/predict", *multipart(photo(1)))[0] in (200, 422)
    assert "Too many open files" not in server.read_log()


def test_bodies_together_are_bounded(start):
    server = start("gunicorn_worker.BUFFERED_BYTES = 1_000_000")
    head = BODY_HEAD.replace(b"100000", b"400001")
    with connect(server, head + bytes(400_000)), connect(server, head + bytes(400_000)):
        time.sleep(0.3)
        with connect(server, head + bytes(400_000)) as third:
            assert third.recv(65536).startswith(b"HTTP/1.1 503 ")
    server.wait_until(lambda: server.ask("POST", "/predict", bytes(400_000), "image/png")[0] == 415)


def photo(megapixels: float) -> bytes:
    """Return a progressive JPEG of a page with a grid of strokes, expensive to decode."""
    side = int((megapixels * 1e6) ** 0.5)
    page = np.random.default_rng(0).integers(200, 255, (side, side), np.uint8)
    page[side // 4 : side // 2, side // 3 : side // 3 + side // 30] = 0
    return encoded(Image.fromarray(page).convert("RGB"), "JPEG", progressive=True, quality=5)


@pytest.mark.parametrize("case", ["picture", "inference"])
def test_health_checks_are_answered_during_a_heavy_request(start, case):
    server = start()
    if case == "picture":
        path, content_type, body = "/predict?segment=1", "image/jpeg", photo(12)
    else:
        path, content_type, body = "/v2/models/mnist/infer", None, None
        body = inference_body(10_000)
    with ThreadPoolExecutor(4) as pool:
        heavy = [pool.submit(server.ask, "POST", path, body, content_type) for _ in range(4)]
        seconds = []
        while not all(each.done() for each in heavy):
            seconds += latencies(server, 1)
    assert {each.result()[0] for each in heavy} <= {200, 422}
    assert len(seconds) >= 3
    assert statistics.median(seconds) < 0.1
    assert max(seconds) < 1


def inference_body(images: int) -> bytes:
    """Return a JSON request of as many images as 2 MiB allow, to be parsed and answered as JSON."""
    images = min(images, 1300)
    data = ",".join(["0"] * 784 * images)
    shape = f'"shape": [{images}, 28, 28], "datatype": "UINT8"'
    return f'{{"inputs": [{{"name": "image", {shape}, "data": [{data}]}}]}}'.encode()


def test_past_the_queue_the_answer_is_an_immediate_503(start):
    server = start()
    body = photo(8)

    def ask(_):
        head = BODY_HEAD.replace(b"100000", b"%d\r\nConnection: close" % len(body))
        with connect(server, head + body) as connection:
            started = time.perf_counter()
            answer = connection.makefile("rb").read()
            return answer, time.perf_counter() - started

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(40)))
    refused = [(answer, s) for answer, s in answers if answer.startswith(b"HTTP/1.1 503 ")]
    served = [s for answer, s in answers if answer[9:12] in (b"200", b"422")]
    assert len(refused) + len(served) == 40
    assert 10 <= len(served) < 40
    assert all(b"Retry-After: 1\r\n" in answer for answer, _ in refused)
    assert statistics.median(s for _, s in refused) < max(served) / 2
