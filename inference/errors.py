"""Every error as {"error": "a sentence a person can act on"}, and sent so that it arrives.

Used by app.py:  add_error_handlers(app)
"""

import io
import json
import time
from contextlib import suppress

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from uploads import MAX_PARTS, MAX_REQUEST_BYTES
from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException

# What a client may go on sending after its answer, and for how long, before it is cut off.
MAX_DRAINED_BYTES = 64 * 1024 * 1024
MAX_DRAIN_SECONDS = 10

SENTENCES = {
    400: "The request was cut off or is malformed: send the whole of it again.",
    404: "There is nothing here: POST a picture to /predict, or open / in a browser.",
    405: "This path does not take that method: POST to /predict, GET everything else.",
    413: f"The request is over {MAX_REQUEST_BYTES // 2**20} MiB or has more than {MAX_PARTS} "
    "parts: send fewer or smaller pictures.",
    500: "The server failed on this request; its log says how.",
}


def add_error_handlers(app: Flask) -> None:
    """Make `app` answer every error in JSON, a failure of its own (500, logged) included."""
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(ParseException, answer_malformed_body)


def answer_http_error(error: HTTPException) -> Response:
    """Return the error as JSON, in the words of abort() or else in those of SENTENCES."""
    response = error.get_response()
    words = error.description
    if words == type(error).description:
        words = SENTENCES.get(error.code, words)
    response.data = json.dumps({"error": words}) + "\n"
    response.mimetype = "application/json"
    if not isinstance(error, ClientDisconnected):
        body = request.environ["wsgi.input"]
        response.call_on_close(lambda: drain(body))
    return response


def answer_malformed_body(error: ParseException) -> Response:
    """Return 400 for a body whose chunks are malformed, which gunicorn sees as we read it."""
    return answer_http_error(BadRequest(f"The body is not valid HTTP: {error}."))


def drain(body: io.BufferedIOBase) -> None:
    """Read and forget what a refused client is still sending, after its answer has been sent.

    Closing a socket with unread bytes resets the connection, and the client may lose the answer
    (RFC 9112, section 9.6). Most stop sending when they see it; the others are cut off in the end.
    """
    deadline = time.monotonic() + MAX_DRAIN_SECONDS
    left = MAX_DRAINED_BYTES
    with suppress(OSError, ParseException):  # the client has gone, or sends nonsense
        while left > 0 and time.monotonic() < deadline:
            data = body.read(64 * 1024)
            if not data:
                break
            left -= len(data)
