"""Idle and slow clients do not keep the others waiting, and every wait has a deadline."""

import resource
import select
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest
from gunicorn_server import BODY_HEAD, read_until_closed, running_tiny
from soak import usage

SLOW_STARTS = {
    "nothing": b"",
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


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A server that closes no connection while a test goes on, except after a response."""
    lines = ("keepalive = 3600", "request_body.BODY_SECONDS = 3600")
    lines += ("request_body.DRAIN_SECONDS = 1", "gunicorn_worker.REQUEST_SECONDS = 3600")
    with running_tiny(tmp_path_factory.mktemp("server"), *lines) as server:
        yield server


@contextmanager
def trickling(connections, data: bytes = b"a"):
    """Send data on each connection every 0.1 s."""
    stopped = threading.Event()

    def trickle():
        while not stopped.wait(0.1):
            for connection in connections:
                with suppress(OSError):
                    connection.send(data, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_a_thousand_idle_and_200_slow_clients_do_not_delay_the_others(patient):
    (before,) = usage(patient)
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
        (after,) = usage(patient)
    assert after.files > 1000
    assert (after.megabytes - before.megabytes) / 1200 < 0.04, "40 kB for each open connection"


@pytest.mark.parametrize("case", SLOW_STARTS)
def test_a_client_that_sends_one_byte_at_a_time_or_nothing_is_cut_off(impatient, case):
    started = SLOW_STARTS[case]
    with impatient.open_socket(started) as slow, impatient.open_socket(started) as silent:
        with trickling([slow]):
            answers = [read_until_closed(slow)]
        answers.append(read_until_closed(silent))
    if case == "body":
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)


def test_the_deadline_of_a_body_is_not_extended_by_the_parts_that_arrive(impatient):
    head = BODY_HEAD.replace(b"100000", b"4000000")
    with impatient.open_socket(head) as connection, trickling([connection], bytes(32 * 1024)):
        assert read_until_closed(connection).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_goes_on_sending_after_its_response_is_cut_off(patient):
    with patient.open_socket(SLOW_STARTS["drain"]) as connection, trickling([connection]):
        assert read_until_closed(connection).startswith(b"HTTP/1.1 404 ")


def test_a_client_that_does_not_read_its_responses_is_cut_off(impatient):
    with impatient.open_socket() as connection:
        connection.settimeout(2)
        with suppress(OSError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        poll = select.poll()
        poll.register(connection, 0)  # Of the events, only an error and the end.
        assert poll.poll(60_000)
