"""Runs long computations in one background thread, so that other requests are answered meanwhile.

gunicorn's gevent worker serves all connections from one thread. A computation of more than a few
milliseconds in that thread would delay every other request, the health probes included:

    picture = in_background(decode, image)
"""

from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from werkzeug.exceptions import ServiceUnavailable

# How many computations may run or wait. The longest take about a second, so a request that is let
# in is answered well before its client gives up.
places = BoundedSemaphore(16)
RETRY_AFTER_SECONDS = 1
BUSY = "The server is busy with other pictures: try again in a moment."


def in_background(function: Callable[..., Any], *arguments: object) -> Any:
    """Return function(*arguments), computed in the background thread of this worker.

    There is one such thread, so that only one large picture is in memory at a time. Raises what the
    function raises, or ServiceUnavailable (503) at once if too many computations are waiting.
    """
    if not places.acquire(blocking=False):
        raise ServiceUnavailable(BUSY, retry_after=RETRY_AFTER_SECONDS)
    try:
        pool = gevent.get_hub().threadpool
        pool.maxsize = 1
        result, error = pool.apply(call, (function, *arguments))
    finally:
        places.release()
    if error is None:
        return result
    try:
        raise error
    finally:
        del error, arguments  # The traceback refers to this frame, and would keep them in memory.


def call(function: Callable[..., Any], *arguments: object) -> tuple[Any, Exception | None]:
    """Return the result or the exception of a call; gevent would log an exception in a thread."""
    try:
        return function(*arguments), None
    except Exception as error:  # Raised again by in_background.
        return None, error
