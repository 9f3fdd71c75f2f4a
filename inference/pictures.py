"""From uploads to readings: the pictures of a request, within limits of time and memory.

readings = read_pictures(uploads, read)

Small pictures are read at once; large ones and requests with several go to the background thread.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from uploads import Upload
from vision.gray import decode
from vision.image import ImageError, open_image
from vision.reading import Reading
from web.background import in_background

# What all pictures of a request may have together.
MAX_REQUEST_PIXELS = 40_000_000
MAX_REQUEST_DIGITS = 256
# A picture with at most this many bytes and pixels is read in about 10 ms.
SMALL_BYTES, SMALL_PIXELS = 64 * 1024, 512 * 512
TOO_MANY = (
    f"The pictures of one request have over {MAX_REQUEST_PIXELS // 1_000_000} million pixels or "
    f"{MAX_REQUEST_DIGITS} digits together: send this one in another request."
)


def read_pictures(uploads: list[Upload], read: Callable[[np.ndarray], Reading]) -> list[Reading]:
    """Return what is read on each upload, or why it cannot be used.

    read returns the reading of a gray picture, uint8 [H, W]. Past the limits of a request, nothing
    is decoded.
    """

    def decode_and_read(image: Image.Image) -> Reading:
        gray, size = decode(image)
        return read(gray).scaled(size[0] / gray.shape[1], size[1] / gray.shape[0])

    readings = []
    pixels = digits = 0
    for upload in uploads:
        compute = at_once if len(uploads) == 1 and is_small(upload.data) else in_background
        try:
            image = compute(open_image, upload.data)
            pixels += image.width * image.height
            if pixels > MAX_REQUEST_PIXELS or digits > MAX_REQUEST_DIGITS:
                raise ImageError("too_large", TOO_MANY)
            if pixels > SMALL_PIXELS:
                compute = in_background
            reading = compute(decode_and_read, image)
            digits += len(reading.digits)
        except ImageError as caught:
            # A copy, because the traceback would keep the decoded picture in memory.
            error = ImageError(caught.reason, str(caught))
            reading = Reading([], np.empty((0, 10), np.float32), [], error=error)
        image = None  # Freed before the next one is opened.
        readings.append(reading)
    return readings


def is_small(data: bytes) -> bool:
    """Return whether opening an upload is quick. For a WebP, opening allocates the whole canvas."""
    return len(data) <= SMALL_BYTES and data[8:12] != b"WEBP"


def at_once(function: Callable[..., Any], *arguments: object) -> Any:
    """Return function(*arguments), as in_background does, but computed here."""
    return function(*arguments)
