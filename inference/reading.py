"""From bytes to digits: every upload goes through the stages image, gray, ink, digits, 28x28.

readings = read_pictures(uploads, find_one_digit)

Small pictures are read at once; large ones and requests with several go to the background thread.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from background import in_background
from digits import Digit, find_digits, split_touching
from gray import decode
from image import ImageError, open_image
from ink import SOLID, find_ink
from mnist_form import mnist_picture, to_mnist
from PIL import Image
from uploads import Upload

# What all pictures of a request may have together.
MAX_REQUEST_PIXELS = 40_000_000
MAX_REQUEST_DIGITS = 256
# A picture with at most this many bytes and pixels is read in about 10 ms.
SMALL_BYTES, SMALL_PIXELS = 64 * 1024, 512 * 512
# Where warnings start: a range of gray levels, and a ratio of width to height (one in a thousand of
# MNIST's digits is wider than 1.7).
FAINT, WIDEST = 64, 2.0

SEVERAL = "More than one digit seems to be drawn: this is the largest."
TOO_MANY = (
    f"The pictures of one request have over {MAX_REQUEST_PIXELS // 1_000_000} million pixels or "
    f"{MAX_REQUEST_DIGITS} digits together: send this one in another request."
)

Confidence = Callable[[np.ndarray], np.ndarray]


class Reading(NamedTuple):
    """What was found on a picture: digits uint8 [28, 28], left to right, and warnings.

    boxes has (x, y, width, height) of each digit in pixels of the upload. A picture that cannot be
    used has no digits, and an error.
    """

    digits: list[np.ndarray]
    boxes: list[list[int]]
    warnings: list[str]
    error: ImageError | None = None


def find_one_digit(image: Image.Image) -> Reading:
    """Return the largest digit on an opened picture. Raises ImageError."""
    return read_one_digit(decode(image).gray)


def read_one_digit(gray: np.ndarray) -> Reading:
    """Return the largest digit on uint8 [H, W]; one in MNIST's form is returned unchanged."""
    form = mnist_picture(gray)
    if form is not None:
        return Reading([form], [], [])
    digits = find_digits(find_ink(gray), gap=0.2)
    largest = max(digits, key=lambda digit: int(digit.cover.sum()))
    warnings = [] if len(digits) == 1 else [SEVERAL]
    if np.ptp(gray) < FAINT:
        warnings.append("The drawing is faint.")
    _, _, width, height = largest.box
    if (largest.cover > 127).sum() > SOLID * largest.cover.size and width > height / 2:
        warnings.append("This is a filled shape, not strokes: it does not look like a digit.")
    elif width > WIDEST * height:
        warnings.append("This is wider than a digit.")
    return Reading([to_mnist(largest.cover)], [], warnings)


def find_all_digits(confidence: Confidence, image: Image.Image) -> Reading:
    """Return all digits on an opened picture, from left to right. Raises ImageError."""
    gray, (width, height) = decode(image)
    reading = read_all_digits(gray, confidence)
    scale = np.array([width / gray.shape[1], height / gray.shape[0]] * 2)
    boxes = np.rint(np.array(reading.boxes) * scale).astype(int).tolist()
    return reading._replace(boxes=boxes)


def read_all_digits(gray: np.ndarray, confidence: Confidence) -> Reading:
    """Return the digits on uint8 [H, W], at most MAX_DIGITS, with boxes in its pixels.

    Digits that touch are cut where `confidence`, the model's largest probability for each of N
    images uint8 [N, 28, 28], is higher for the parts than for the whole.
    """

    def of_digits(digits: list[Digit]) -> np.ndarray:
        return confidence(np.stack([to_mnist(digit.cover) for digit in digits]))

    digits = split_touching(find_digits(find_ink(gray), gap=0), of_digits)
    return Reading([to_mnist(digit.cover) for digit in digits], [list(d.box) for d in digits], [])


def read_pictures(uploads: list[Upload], find: Callable[[Image.Image], Reading]) -> list[Reading]:
    """Return what `find` finds on each upload; past the limits of a request, nothing is decoded."""
    readings = []
    pixels = digits = 0
    for upload in uploads:
        run = at_once if len(uploads) == 1 and is_small(upload.data) else in_background
        try:
            image = run(open_image, upload.data)
            pixels += image.width * image.height
            if pixels > MAX_REQUEST_PIXELS or digits > MAX_REQUEST_DIGITS:
                raise ImageError("too_large", TOO_MANY)
            if pixels > SMALL_PIXELS:
                run = in_background
            reading = run(find, image)
            digits += len(reading.digits)
        except ImageError as error:
            # A copy, because the traceback would keep the decoded picture in memory.
            reading = Reading([], [], [], ImageError(error.reason, str(error)))
        image = None  # Freed before the next one is opened.
        readings.append(reading)
    return readings


def is_small(data: bytes) -> bool:
    """Return whether opening an upload is quick. For a WebP, opening allocates the whole canvas."""
    return len(data) <= SMALL_BYTES and data[8:12] != b"WEBP"


def at_once(function: Callable[..., Any], *arguments: object) -> Any:
    """Return function(*arguments), as in_background does, but computed here."""
    return function(*arguments)
