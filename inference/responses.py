"""What all responses have in common: JSON, errors that say what to do, headers, counts.

add_common_behaviour(app)   return json_response({"prediction": 7})
"""

import json
import os
import re
import secrets
import time

import metrics
from flask import Flask, Response, current_app, g, request
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
    app.register_error_handler(HTTPException, error_response)
    app.before_request(start_request)
    app.after_request(add_headers)
    app.after_request(count_request)
    # Origins, separated by commas, whose pages may call this server; none by default.
    origins = os.environ.get("CORS_ORIGINS", "").split(",")
    app.config["CORS_ORIGINS"] = {origin.strip() for origin in origins} - {""}


def json_response(content: dict, status: int = 200) -> Response:
    """Return `content` as one line of JSON."""
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")


def error_response(error: HTTPException) -> Response:
    """Return {"error": "..."}, with the description given to abort() or one of DESCRIPTIONS."""
    description = error.description
    if description == type(error).description:
        limit = (request.max_content_length or 0) // 2**20
        description = DESCRIPTIONS.get(error.code, description).format(limit=limit)
    response = error.get_response()
    response.data = json.dumps({"error": description}) + "\n"
    response.mimetype = "application/json"
    return response


def start_request() -> None:
    """Give the request an id: the client's X-Request-ID if it is short and plain, or a new one."""
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def add_headers(response: Response) -> Response:
    """Add the security headers, the request id and, for a configured origin, those of CORS."""
    response.headers.extend(HEADERS)
    response.headers["X-Request-ID"] = g.request_id
    if origins := current_app.config["CORS_ORIGINS"]:
        origin = request.headers.get("Origin")
        response.vary.add("Origin")
        if origin and (origin in origins or "*" in origins):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers.extend(CORS_HEADERS)
    return response


def count_request(response: Response) -> Response:
    """Count the request by its route: clients could make up any number of paths."""
    route = request.url_rule.rule if request.url_rule else "none"
    metrics.REQUESTS.labels(route, response.status_code).inc()
    metrics.DURATION.labels(route).observe(time.perf_counter() - g.started)
    return response
