"""What all responses have in common: JSON, errors that say what to do, headers, counts.

add_common_behaviour(app)   return json_response({"prediction": 7})
"""

import json
import os
import re
import secrets
import time
from functools import partial

import metrics
from flask import Flask, Response, request
from inference_protocol import HEADER_LENGTH
from werkzeug.exceptions import HTTPException

# Flask's own descriptions of these errors do not say what to do.
DESCRIPTIONS = {
    400: "The request is malformed or was cut off: send all of it again.",
    404: "There is nothing at this path: POST a picture to /predict, or open / in a browser.",
    405: "This path does not support that method: see /openapi.json.",
    413: "The request is larger than {limit} MiB: send fewer or smaller pictures.",
    500: "The server failed on this request: its log says why.",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# For pages of the origins in CORS_ORIGINS.
CORS_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": f"Content-Type, X-Request-ID, {HEADER_LENGTH}",
    "Access-Control-Expose-Headers": f"X-Request-ID, {HEADER_LENGTH}",
}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_common_behaviour(app: Flask) -> None:
    """Register the error handlers of `app`, and what happens before and after each request."""
    # Origins, separated by commas, whose pages may call this server; none by default.
    origins = {origin.strip() for origin in os.environ.get("CORS_ORIGINS", "").split(",")} - {""}
    app.register_error_handler(HTTPException, error_response)
    app.before_request(start_request)
    app.after_request(partial(finish_request, origins))


def json_response(content: dict, status: int = 200) -> Response:
    """Return `content` as one line of JSON."""
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")


def error_response(error: HTTPException) -> Response:
    """Return {"error": "..."}, with the description given to abort() or one of DESCRIPTIONS."""
    description = error.description
    if description == type(error).description and error.code in DESCRIPTIONS:
        limit = (request.max_content_length or 0) // 2**20
        description = DESCRIPTIONS[error.code].format(limit=limit)
    response = error.get_response()
    response.data = json.dumps({"error": description}) + "\n"
    response.mimetype = "application/json"
    return response


# request and g are proxies, and each use of one takes more than a microsecond. The functions below
# run for every request, so they use the WSGI environment instead.
def start_request() -> None:
    """Give the request an id: the client's X-Request-ID if it is short and plain, or a new one."""
    environ = request.environ
    environ["mnist.started"] = time.perf_counter()
    given = environ.get("HTTP_X_REQUEST_ID", "")
    environ["mnist.request_id"] = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def finish_request(origins: set[str], response: Response) -> Response:
    """Add the headers that all responses have, and count the request.

    It is counted by its route, because clients could make up any number of paths.
    """
    environ, rule, headers = request.environ, request.url_rule, response.headers
    for name, value in HEADERS.items():
        headers.add(name, value)
    headers.add("X-Request-ID", environ["mnist.request_id"])
    if origins:
        add_cors_headers(origins, environ.get("HTTP_ORIGIN"), response)
    seconds = time.perf_counter() - environ["mnist.started"]
    metrics.count_request(rule.rule if rule else "none", response.status_code, seconds)
    return response


def add_cors_headers(origins: set[str], origin: str | None, response: Response) -> None:
    """Allow pages of `origin` to read the response if it is one of `origins`."""
    response.vary.add("Origin")
    if origin and (origin in origins or "*" in origins):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers.extend(CORS_HEADERS)
