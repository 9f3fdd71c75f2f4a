"""From request to bytes: the pictures that a request to /predict carries.

uploads = read_uploads(request)
"""

import base64
import json
from typing import NamedTuple

from flask import Request, abort
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from web.background import in_background

MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_UPLOADS = 32
# A JSON body of this size is parsed in about a millisecond, a larger one in the background thread.
SMALL_JSON = 64 * 1024
# A body for MAX_UPLOADS pictures has fewer. Parsing millions of values blocks all threads, because
# the parser does not release the interpreter lock.
MAX_JSON_COMMAS = 10 * MAX_UPLOADS

HOW_TO_SEND = "send it as the form field file, with curl: -F file=@digit.png"
HOW_TO_SEND_JSON = 'send {"image": "BASE64"} or {"images": ["BASE64", ...]}'
TOO_MANY_VALUES = "The JSON body has too many values: send only the pictures."
TOO_MANY = f"More than {MAX_UPLOADS} pictures in one request: send fewer."


class Upload(NamedTuple):
    """One picture of a request: its file name, or its place in the request, and its bytes."""

    name: str
    data: bytes


def read_uploads(request: Request) -> list[Upload]:
    """Return the pictures in the body of a request, at least one and at most MAX_UPLOADS.

    Aborts with 400 for a malformed body or one without a picture, 413 over a limit, 415 for an
    unknown content type.
    """
    body = request.get_data(cache=False)
    # Werkzeug silently cuts a body without a Content-Length at the limit.
    if len(body) >= MAX_REQUEST_BYTES:
        abort(413)
    kind = request.mimetype
    if kind == "multipart/form-data":
        uploads = read_form(body, request.content_type)
    elif kind == "application/json":
        small = len(body) <= SMALL_JSON
        uploads = read_json(body) if small else in_background(read_json, body)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        uploads = [Upload("body", body)]
    elif kind:
        abort(415, f"A picture cannot be sent as {kind}: {HOW_TO_SEND}.")
    else:
        uploads = []
    if not uploads:
        abort(400, f"There is no picture in the request: {HOW_TO_SEND}.")
    return uploads


def read_form(body: bytes, content_type: str) -> list[Upload]:
    """Return the parts named `file` of a form (RFC 7578), in their order.

    The multipart package takes a tenth of the time that Werkzeug's parser takes.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    uploads = []
    try:
        # Every sequence of bytes is valid Latin-1; file_name restores UTF-8.
        with PushMultipartParser(
            boundary, len(body), max_segment_count=MAX_UPLOADS, header_charset="latin-1"
        ) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, data = event, b""
                elif event is not None:
                    data = event  # The whole of a part, because the whole form is parsed at once.
                elif segment.name == "file":
                    uploads.append(Upload(file_name(segment), data))
    except ParserLimitReached:
        abort(413, TOO_MANY)
    except MultipartError as error:
        abort(400, f"The form is malformed ({error}): {HOW_TO_SEND}.")
    return uploads


def file_name(segment: MultipartSegment) -> str:
    """Return the file name of a part, which is UTF-8 (RFC 7578, section 5.1) as far as it is valid.

    Aborts with 400 for a part without one: curl sends that for -F file=digit.png, without the @.
    """
    if segment.filename is None:
        abort(400, f"The field file holds text, not a picture: {HOW_TO_SEND} (note the @).")
    return segment.filename.encode("latin-1", "replace").decode("utf-8", "replace")


def read_json(body: bytes) -> list[Upload]:
    """Return the pictures of a JSON body, which may be data: URIs instead of plain base64."""
    if body.count(b",") > MAX_JSON_COMMAS:
        abort(413, TOO_MANY_VALUES)
    try:
        content = json.loads(body)
        images = [content["image"]] if "image" in content else content["images"]
        if not isinstance(images, list):
            raise TypeError("images is not a list")
        if len(images) > MAX_UPLOADS:
            abort(413, TOO_MANY)
        encoded = [image.partition("base64,")[2] or image for image in images]
        return [
            Upload(str(index), base64.b64decode(text, validate=True))
            for index, text in enumerate(encoded)
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        abort(400, f"The JSON body has no pictures in base64: {HOW_TO_SEND_JSON}.")
