"""Idle and slow clients do not keep the others waiting, and every wait has a deadline."""

import resource
import select
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from gunicorn_server import read_until_closed, running_tiny

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


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server whose deadlines are about a second."""
    lines = ("keepalive = 1", "request_body.BODY_SECONDS = 1", "request_body.DRAIN_SECONDS = 1")
    lines += ("gunicorn_worker.REQUEST_SECONDS = 2",)
    with running_tiny(tmp_path_factory.mktemp("server"), *lines) as server:
        yield server


@pytest.fixture
def patient(tmp_path):
    """A server that closes no connection while a test goes on."""
    lines = ("keepalive = 3600", "request_body.BODY_SECONDS = 3600")
    with running_tiny(tmp_path, *lines) as server:
        yield server


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


def worker_kilobytes(server) -> int:
    status = Path(f"/proc/{server.workers()[0]}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_a_thousand_idle_and_200_slow_clients_do_not_delay_the_others(patient):
    before = worker_kilobytes(patient)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(patient.open_socket())
        slow = [
            stack.enter_context(patient.open_socket(data))
            for data in SLOW_STARTS.values()
            for _ in range(40)
        ]
        with trickling(slow):
            assert [patient.ask("GET", "/healthz")[0] for _ in range(20)] == [200] * 20
        assert patient.open_files() > 1000
        grown = worker_kilobytes(patient) - before
    assert grown / 1200 < 40, "kB for each open connection"


@pytest.mark.parametrize("case", SLOW_STARTS)
def test_a_client_that_sends_one_byte_at_a_time_is_cut_off(impatient, case):
    """One that sends nothing after the start is cut off by the same deadline."""
    started = SLOW_STARTS[case]
    with impatient.open_socket(started) as slow, impatient.open_socket(started) as silent:
        with trickling([slow], 0.1):
            read_until_closed(slow)
        read_until_closed(silent)


def test_a_connection_on_which_nothing_is_sent_is_closed(impatient):
    with impatient.open_socket() as connection:
        assert read_until_closed(connection) == b""


def test_a_slow_body_is_answered_with_408(impatient):
    with impatient.open_socket(BODY_HEAD + b"start") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_its_responses_is_cut_off(impatient):
    with impatient.open_socket() as connection:
        connection.settimeout(2)
        with suppress(OSError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        poll = select.poll()
        poll.register(connection, 0)  # Of the events, only an error and the end.
        assert poll.poll(60_000)
