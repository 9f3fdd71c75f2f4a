"""The gunicorn worker: gevent's, with bounds on the time and memory of each connection.

Used by gunicorn.conf.py:  worker_class = Worker
docs/design/gevent.md says what to check when another version of gunicorn is installed.

gevent switches to another connection while one waits for its client, so an idle or slow client
holds a socket and not a thread. What is left to do here is to give every wait a deadline, to limit
what clients hold together, and to answer a client before it is cut off.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace

import gevent
from gevent.server import StreamServer
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.ggevent import GeventWorker
from web import request_body

# The time for a request from the end of its header to the end of its response. The time until the
# end of the next header is bounded by gunicorn's setting keepalive.
REQUEST_SECONDS = 60
# How long a stopping worker still accepts connections, and how long it then waits for the next
# request on an open one. A busy client meanwhile gets a response with Connection: close.
LINGER_SECONDS = 1

PARSE_ERRORS = {
    LimitRequestLine: "414 URI Too Long",
    LimitRequestHeaders: "431 Request Header Fields Too Large",
}


class Worker(GeventWorker):
    """Serves connections until SIGTERM, and then those that are open until they have answers."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.clients: dict[gevent.Greenlet, socket.socket] = {}
        # Those that wait for a header, oldest first, and since when.
        self.idle: dict[gevent.Greenlet, float] = {}

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = request_body.bounded(self.wsgi)

    def run(self) -> None:
        servers = []
        for listener in self.sockets:
            # gunicorn asks a listener only for its address, which a closed socket does not have.
            address = SimpleNamespace(getsockname=partial(tuple, listener.getsockname()))
            servers.append(StreamServer(listener, handle=partial(self.handle, address)))
        for server in servers:
            server.max_accept = 1  # One at a time leaves connections to the other workers.
            server.start()
        while self.alive:
            self.notify()
            gevent.sleep(0.5)
        self.stop(servers)

    def stop(self, servers: list[StreamServer]) -> None:
        """Answer what has arrived, each response with Connection: close, and then return."""
        deadline = time.monotonic() + self.cfg.graceful_timeout
        gevent.sleep(LINGER_SECONDS)
        for server in servers:
            # Closing resets the connections that nobody has accepted.
            while connection := server.do_read():
                server.do_handle(*connection)
            server.close()
        gevent.sleep(0)  # The greenlets of the last connections start, and enter self.clients.
        while self.clients and time.monotonic() < deadline:
            while self.drop_idle_client(LINGER_SECONDS):
                pass
            self.notify()
            gevent.sleep(0.1)

    def handle(self, listener: SimpleNamespace, client: socket.socket, addr: tuple) -> None:
        """Serve one connection; if there are too many, at the expense of one that is idle."""
        if len(self.clients) >= self.worker_connections and not self.drop_idle_client():
            refuse(client, "503 Service Unavailable", "Too many connections: try again later.")
            return
        greenlet = gevent.getcurrent()
        self.clients[greenlet] = client
        try:
            super().handle(listener, client, addr)
        finally:
            del self.clients[greenlet]

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Wait for the next header: for keepalive seconds, or until the connection is dropped."""
        greenlet = gevent.getcurrent()
        self.idle[greenlet] = time.monotonic()
        try:
            with super().timeout_ctx():
                yield
        finally:
            self.idle.pop(greenlet, None)

    def drop_idle_client(self, seconds: float = 0) -> bool:
        """End the connection that has waited longest for a header, and at least some seconds.

        Return whether there is one. A request that has arrived meanwhile is still answered.
        """
        greenlet, since = next(iter(self.idle.items()), (None, 0))
        if greenlet is None or time.monotonic() < since + seconds:
            return False
        del self.idle[greenlet]
        with suppress(OSError):
            self.clients[greenlet].shutdown(socket.SHUT_RD)
        return True

    def handle_request(self, listener_name, req, sock, addr) -> None:  # noqa: ANN001
        try:
            with gevent.Timeout(REQUEST_SECONDS) as timeout:
                super().handle_request(listener_name, req, sock, addr)
            # If the client's next request has arrived, reading it would not switch to the others.
            gevent.sleep(0)
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise StopIteration from expired  # Ends the connection.

    def handle_error(self, req, client, addr, exc) -> None:  # noqa: ANN001
        """Answer a request that is not valid HTTP in JSON, as the application answers errors."""
        if isinstance(exc, ParseException):
            self.log.warning("Invalid request from %s: %s", addr, exc)
            refuse(client, PARSE_ERRORS.get(type(exc), "400 Bad Request"), f"Not valid HTTP: {exc}")
        else:
            self.log.exception("Failed to serve a connection")
            refuse(client, "500 Internal Server Error", "The server failed: its log says why.")


def refuse(client: socket.socket, status: str, message: str) -> None:
    """Send an error as the only response on a connection, and let the client read it."""
    body = json.dumps({"error": message}) + "\n"
    headers = {"Connection": "close", "Content-Type": "application/json"}
    headers["Content-Length"] = str(len(body))
    if status.startswith("503"):
        headers["Retry-After"] = "1"
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    response = "\r\n".join([*lines, "", body])
    with suppress(OSError), gevent.Timeout(request_body.DRAIN_SECONDS, False):
        client.sendall(response.encode())
        client.shutdown(socket.SHUT_WR)
        while client.recv(64 * 1024):
            pass
