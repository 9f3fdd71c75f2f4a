"""What a request to /predict may carry: its limits, and the pictures taken out of it.

Used by app.py:  app.request_class = UploadRequest   uploads = read_uploads()
"""

import io

from flask import Request, abort, request

MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_PARTS = 32
# Nobody needs text here, but Werkzeug holds file parts to it as well, 64 KiB at a time.
MAX_TEXT_BYTES = 128 * 1024

HOW_TO_SEND = "send it as the multipart field file, with curl: -F file=@digit.png"


class UploadRequest(Request):
    """A request whose size is limited and whose uploads stay in memory."""

    max_content_length = MAX_REQUEST_BYTES
    max_form_parts = MAX_PARTS
    max_form_memory_size = MAX_TEXT_BYTES

    def _get_file_stream(self, *_args: object, **_kwargs: object) -> io.BytesIO:
        # Werkzeug would spool parts of over 500 kB to /tmp, and the root may be read-only.
        return io.BytesIO()


def read_uploads() -> list[tuple[str, bytes]]:
    """Return (file name, bytes) of each picture in the request.

    Aborts with 400 when there is none or an empty one, 413 over a limit, 415 for another type.
    """
    if request.mimetype.startswith("image/"):
        uploads = [("body", request.get_data())]
        # Werkzeug cuts a body without a Content-Length at the limit and says nothing.
        if len(uploads[0][1]) >= MAX_REQUEST_BYTES:
            abort(413)
    elif request.mimetype == "multipart/form-data":
        uploads = [(part.filename, part.read()) for part in request.files.getlist("file")]
    elif request.mimetype:
        abort(415, f"A picture cannot come as {request.mimetype}: {HOW_TO_SEND}.")
    else:
        uploads = []
    if not uploads and "file" in request.form:
        abort(400, f"The field file holds text, not a picture: {HOW_TO_SEND} (mind the @).")
    if not uploads:
        abort(400, f"There is no picture in the request: {HOW_TO_SEND}.")
    for name, data in uploads:
        if not data:
            abort(400, f"The picture {name!r} is empty: {HOW_TO_SEND}.")
    return uploads
