"""Past its limits the server answers 503 at once, and meanwhile it answers health checks."""

import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import pytest
from gunicorn_server import running_one_worker, seconds_until_closed
from inference_requests import bulk_inference, json_inference
from PIL import Image
from tiny_model import encoded, multipart

INFER = "/v2/models/mnist/infer"
JSON = {"Content-Type": "application/json"}
BODY_HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    b"Content-Length: 100000\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_one_worker(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_past_the_limit_of_connections_the_oldest_idle_ones_are_closed(start):
    server = start("worker_connections = 100")
    with ExitStack() as stack:
        idle = [stack.enter_context(server.open_socket()) for _ in range(150)]
        assert max(server.health_check_seconds(10)) < 1
        assert seconds_until_closed(idle[0]) < 1
        assert server.open_files() < 150


def test_past_the_limit_of_busy_connections_the_answer_is_503(start):
    server = start("worker_connections = 20")
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(server.open_socket(BODY_HEAD))
        server.wait_until(lambda: server.open_files() > 25)
        with server.open_socket() as connection:
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
            stack.enter_context(server.open_socket())
        assert max(server.health_check_seconds(10)) < 1
        assert server.ask("POST", "/predict", *multipart(photo(1)))[0] in (200, 422)
    assert "Too many open files" not in server.read_log()


def test_bodies_together_are_bounded(start):
    server = start("request_body.BUFFERED_BYTES = 1_000_000")
    head = BODY_HEAD.replace(b"100000", b"400001")
    with server.open_socket(head + bytes(400_000)), server.open_socket(head + bytes(400_000)):
        time.sleep(0.3)
        with server.open_socket(head + bytes(400_000)) as third:
            assert third.recv(65536).startswith(b"HTTP/1.1 503 ")
    server.wait_until(lambda: server.ask("POST", "/predict", bytes(400_000), "image/png")[0] == 415)


def photo(megapixels: float) -> bytes:
    """Return a progressive JPEG of a page with a grid of strokes, expensive to decode."""
    side = int((megapixels * 1e6) ** 0.5)
    page = np.random.default_rng(0).integers(200, 255, (side, side), np.uint8)
    page[side // 4 : side // 2, side // 3 : side // 3 + side // 30] = 0
    return encoded(Image.fromarray(page).convert("RGB"), "JPEG", progressive=True, quality=5)


HEAVY = {
    "picture": lambda: ("/predict?segment=1", photo(12), {"Content-Type": "image/jpeg"}),
    "JSON": lambda: ("/predict", b'{"images": [' + b'"",' * 1_300_000 + b'""]}', JSON),
    "inference in JSON": lambda: (INFER, json_inference(1300), JSON),
    "inference in binary": lambda: (INFER, *bulk_inference(False)),
}


@pytest.mark.parametrize("case", HEAVY)
def test_health_checks_are_answered_during_heavy_requests(server, case):
    path, body, headers = HEAVY[case]()

    def ask(_):
        with closing(server.connect()) as connection:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status

    with ThreadPoolExecutor(4) as pool:
        heavy = [pool.submit(ask, index) for index in range(4)]
        seconds = server.health_check_seconds(1)
        while not all(each.done() for each in heavy):
            seconds += server.health_check_seconds(1)
    print(f"slowest health check: {max(seconds) * 1000:.0f} ms")
    assert {each.result() for each in heavy} <= {200, 413, 422}
    assert statistics.median(seconds) < 0.1
    assert max(seconds) < 1


def test_past_the_queue_the_answer_is_an_immediate_503(server):
    body = photo(8)

    def ask(_):
        head = BODY_HEAD.replace(b"100000", b"%d\r\nConnection: close" % len(body))
        with server.open_socket(head + body) as connection:
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


def test_a_client_that_always_has_another_request_ready_does_not_keep_the_others_waiting(start):
    server = start()
    request, count = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", 1000
    received = bytearray()

    def receive(client):
        while received.count(b"HTTP/1.1 200") < count and (data := client.recv(2**20)):
            received.extend(data)

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as greedy:
        receiver = threading.Thread(target=receive, args=(greedy,))
        receiver.start()
        greedy.sendall(request * count)
        assert server.ask("GET", "/healthz")[0] == 200
        answered = received.count(b"HTTP/1.1 200")
        receiver.join(60)
    assert answered < count / 2
    assert received.count(b"HTTP/1.1 200") == count
