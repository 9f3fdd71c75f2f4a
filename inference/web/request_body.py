"""Bounds on the time and memory that the bodies of requests take, for gunicorn_worker.py.

application = bounded(application)      wraps a WSGI application
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

import gevent
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestTimeout, ServiceUnavailable
from werkzeug.wsgi import ClosingIterator

# The time for a body to arrive.
BODY_SECONDS = 30
# What a client may go on sending after its response. Closing a socket with unread data resets the
# connection, and the client may lose the response (RFC 9112, section 9.6).
DRAIN_SECONDS, DRAIN_BYTES = 5, 64 * 1024 * 1024
# What a worker holds at once of bodies that are being received.
BUFFERED_BYTES = 32 * 1024 * 1024


def bounded(app: Callable) -> Callable[[dict, Callable], Iterable[bytes]]:
    """Wrap a WSGI application so that request bodies are received within bounds."""

    def application(environ: dict, start_response: Callable) -> Iterable[bytes]:
        body = BoundedBody(environ["wsgi.input"])
        environ["wsgi.input"] = body
        try:
            return ClosingIterator(app(environ, start_response), body.finish)
        except BaseException:
            body.release()
            raise

    return application


class BoundedBody:
    """The body of a request: raises an HTTPException if it is too slow or not valid HTTP."""

    buffered = 0  # By all bodies of this worker.

    def __init__(self, body: BinaryIO) -> None:
        self.body = body
        self.received = 0
        self.deadline = time.monotonic() + BODY_SECONDS

    def read(self, size: int = -1) -> bytes:
        late = RequestTimeout(f"The body took more than {BODY_SECONDS} s to arrive.")
        try:
            with gevent.Timeout(max(0, self.deadline - time.monotonic()), late):
                data = self.body.read(size)
        except ParseException as error:
            raise BadRequest(f"The body is not valid HTTP: {error}.") from error
        self.received += len(data)
        BoundedBody.buffered += len(data)
        if BoundedBody.buffered > BUFFERED_BYTES:
            raise ServiceUnavailable("The server is receiving too many bodies.", retry_after=1)
        return data

    def release(self) -> None:
        """Subtract this body from what the worker holds."""
        BoundedBody.buffered -= self.received
        self.received = 0

    def finish(self) -> None:
        """After the response, read on for a while if the client still sends."""
        self.release()
        left = DRAIN_BYTES
        with suppress(OSError, ParseException), gevent.Timeout(DRAIN_SECONDS, False):
            while left > 0 and (data := self.body.read(64 * 1024)):
                left -= len(data)
            if left > 0:
                return
        raise StopIteration  # Ends the connection.
