"""Past its limits the server answers 503 at once, and meanwhile it answers health checks."""

import os
import re
import select
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gunicorn_server import BODY_HEAD, Server, read_until_closed, running_tiny
from inference_requests import binary_inference, json_inference
from PIL import Image
from tiny_model import encoded, multipart

INFER = "/v2/models/mnist/infer"
JSON = {"Content-Type": "application/json"}
JPEG = {"Content-Type": "image/jpeg"}
# As many computations may run or wait in a worker; see inference/web/background.py.
PLACES = 16
# As long as there is a file `closed-NAME`, the computation NAME makes a file `reached-NAME` and
# waits, without switching to another greenlet.
GATES = """
import gevent.monkey
sleep = gevent.monkey.get_original("time", "sleep")

def gated(function, name):
    def wait(*args, **kwargs):
        while (folder / f"closed-{name}").exists():
            (folder / f"reached-{name}").touch()
            sleep(0.01)
        return function(*args, **kwargs)
    return wait

def post_worker_init(worker):
    import classifier
    import json
    from PIL.ImageFile import ImageFile
    for owner, name in ((ImageFile, "load"), (json, "loads"), (classifier, "classify_batch")):
        setattr(owner, name, gated(getattr(owner, name), name))
"""


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A server with GATES."""
    folder = tmp_path_factory.mktemp("server")
    where = f"from pathlib import Path\nfolder = Path({str(folder)!r})"
    with running_tiny(folder, where, GATES) as server:
        yield server


@contextmanager
def closed(server: Server, name: str) -> Iterator[Path]:
    """Close a gate for the length of a with block; yield the file that it makes."""
    reached, gate = (server.stderr.parent / f"{word}-{name}" for word in ("reached", "closed"))
    reached.unlink(missing_ok=True)
    gate.touch()
    try:
        yield reached
    finally:
        gate.unlink()


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A server that opens at most 256 files, half of them connections, and holds 1 MB of bodies."""
    lines = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))",
        "exec(open(__file__).read())",
        "keepalive = 3600",
        "request_body.BUFFERED_BYTES = 1_000_000",
    )
    with running_tiny(tmp_path_factory.mktemp("server"), *lines) as server:
        yield server
        assert "Too many open files" not in server.read_log()


@pytest.fixture
def clients(limited):
    """An ExitStack for connections; at its end, all of them are closed at the server, too."""
    with ExitStack() as stack:
        yield stack
    limited.wait_until(lambda: limited.open_files() < 100)


def test_past_the_limit_of_connections_the_oldest_idle_ones_are_closed(limited, clients):
    idle = [clients.enter_context(limited.open_socket()) for _ in range(400)]
    assert limited.ask("GET", "/healthz")[0] == 200
    assert limited.ask("POST", "/predict", *multipart(photo()))[0] in (200, 422)
    assert idle[0].recv(1) == b"", "it is closed"
    idle[-1].setblocking(False)
    with pytest.raises(BlockingIOError):
        idle[-1].recv(1)
    assert limited.open_files() < 200


def test_past_the_limit_of_busy_connections_the_answer_is_503(limited, clients):
    head = BODY_HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    for _ in range(128):
        busy = clients.enter_context(limited.open_socket(head))
        assert busy.recv(65536).startswith(b"HTTP/1.1 100 ")
    answer = clients.enter_context(limited.open_socket()).recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer


def test_bodies_together_are_bounded(limited, clients):
    head = BODY_HEAD.replace(b"100000", b"400001")
    bodies = [head + bytes(400_000)] * 3
    connections = [clients.enter_context(limited.open_socket(body)) for body in bodies]
    (refused,), _, _ = select.select(connections, [], [], 60)
    assert refused.recv(65536).startswith(b"HTTP/1.1 503 ")
    clients.close()
    body = bytes(400_000)
    limited.wait_until(lambda: limited.ask("POST", "/predict", body, "image/png")[0] == 415)


def test_a_client_that_always_has_another_request_ready_does_not_keep_the_others_waiting(limited):
    head, count = b"GET /version HTTP/1.1\r\nHost: x\r\nX-Request-ID: ", 500
    requests = (head + b"greedy\r\n\r\n") * (count - 1)
    requests += head + b"greedy\r\nConnection: close\r\n\r\n"
    (worker,) = limited.workers()
    os.kill(worker, signal.SIGSTOP)  # Until everything has arrived.
    with (
        limited.open_socket(requests) as greedy,
        limited.open_socket(head + b"other\r\nConnection: close\r\n\r\n") as other,
    ):
        os.kill(worker, signal.SIGCONT)
        assert read_until_closed(greedy).count(b"HTTP/1.1 200") == count
        assert read_until_closed(other).count(b"HTTP/1.1 200") == 1
    limited.wait_until(lambda: limited.stdout.read_text().count("/version") == count + 1)
    lines = re.findall("greedy|other", limited.stdout.read_text())
    assert lines.index("other") < count / 2


def photo() -> bytes:
    """Return a JPEG of a page with a stroke, large enough to be decoded in the background."""
    page = np.random.default_rng(0).integers(200, 255, (1000, 1000), np.uint8)
    page[250:500, 333:366] = 0
    return encoded(Image.fromarray(page), "JPEG", quality=5)


HEAVY = {
    "picture": ("load", lambda: ("/predict", photo(), JPEG)),
    "JSON": ("loads", lambda: ("/predict", b'{"images": "' + bytes(100_000) + b'"}', JSON)),
    "inference in JSON": ("loads", lambda: (INFER, json_inference(100), JSON)),
    "inference in binary": ("classify_batch", lambda: (INFER, *binary_inference(100, True))),
}


@pytest.mark.parametrize("case", HEAVY)
def test_health_checks_are_answered_during_heavy_requests(gated, case):
    name, make = HEAVY[case]
    path, body, headers = make()
    with ThreadPoolExecutor(1) as pool:
        with closed(gated, name) as reached:
            heavy = pool.submit(gated.request, "POST", path, body, headers)
            gated.wait_until(reached.exists)
            assert gated.ask("GET", "/healthz")[0] == 200
            assert not heavy.done()
        assert heavy.result()[0].status in (200, 400, 422)


def test_past_the_queue_the_answer_is_an_immediate_503(gated):
    body = photo()
    with ThreadPoolExecutor(40) as pool:
        with closed(gated, "load"):
            asking = [pool.submit(gated.request, "POST", "/predict", body, JPEG) for _ in range(40)]
            refused = [task.result()[0] for task in islice(as_completed(asking, 60), 40 - PLACES)]
        answers = [task.result()[0] for task in asking]
    assert {(answer.status, answer.getheader("Retry-After")) for answer in refused} == {(503, "1")}
    assert sum(answer.status in (200, 422) for answer in answers) == PLACES
