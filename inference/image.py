"""Turns the bytes of an upload into one upright gray picture, or says why it cannot.

Used by app.py:  gray = read_image(data)
"""

import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
ACCEPTED = "JPEG, PNG, BMP, GIF, WebP or TIFF"
# The first bytes of each format: they tell a damaged picture (422) from something else (415).
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")

MAX_PIXELS = 40_000_000
# Only JPEG can be decoded at a fraction of its size; the others are held whole in memory.
MAX_DECODED_PIXELS = 16_000_000
# A scan costs some 100 bytes to send and a pass over every pixel to decode; encoders write ten.
MAX_JPEG_SCANS = 100
# The short side a JPEG is decoded to at least, and the long side of what read_image returns.
DRAFT_SIDE = 360
MAX_SIDE = 1024

# Under this range of gray levels a drawing on a transparent ground counts as vanished.
MIN_RANGE = 48

# What Pillow's decoders raise on damaged files, seen in its source and by fuzzing.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A picture that cannot be used: a sentence for the sender and the HTTP status it means."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def read_image(data: bytes) -> np.ndarray:
    """Decode an upload into uint8 [height, width], upright, transparency on a plain ground.

    A picture whose longer side is over MAX_SIDE comes back smaller, its aspect kept (see
    picture_size); an 8-bit gray one that is not keeps its exact values.
    Raises ImageError: 413 too many pixels, 415 not a picture we read, 422 damaged.
    """
    image = _load(_open(data))
    orientation = _orientation(image)
    image = _shrink(image)
    if orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[orientation])
    return _to_gray(image)


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of an upload as a viewer shows it (after EXIF orientation).

    read_image may return the picture smaller; the ratio of the two is the scale.
    Raises ImageError as read_image does, but decodes the header alone.
    """
    image = _open(data)
    width, height = image.size
    # Pillow turns a TIFF by itself and gives the size it will have then.
    turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _open(data: bytes) -> Image.Image:
    """Read the header alone; refuse what is no picture and what is too big to decode."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except DECODER_ERRORS as error:
        if data.startswith(SIGNATURES):
            raise _damaged() from error
        raise ImageError(f"This is not a picture I can read: send a {ACCEPTED}.", 415) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large()
    return image


def _load(image: Image.Image) -> Image.Image:
    """Decode the pixels: a JPEG at a fraction of its size where it is large."""
    if image.format == "JPEG":
        if image.fp.getvalue().count(b"\xff\xda") > MAX_JPEG_SCANS:
            raise _damaged()
        image.draft(None, _draft_size(image.size))
    if image.width * image.height > MAX_DECODED_PIXELS:
        raise _too_large()
    try:
        image.load()
    except DECODER_ERRORS as error:
        raise _damaged() from error
    return image


def _draft_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = max(1, min(size) // DRAFT_SIDE)
    return size[0] // factor, size[1] // factor


def _shrink(image: Image.Image) -> Image.Image:
    factor = -(-max(image.size) // MAX_SIDE)
    if factor == 1:
        return image
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode.startswith("I;16"):
        image = image.convert("I")  # Pillow cannot reduce 16 bits
    # A line thinner than the factor keeps a pixel: neither side of the result is ever empty.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODER_ERRORS:
        # Damaged metadata says nothing about the pixels, which are good.
        return 1


def _to_gray(image: Image.Image) -> np.ndarray:
    """Any mode to uint8 [height, width]."""
    if image.mode.startswith(("I", "F")):
        return _scale_to_bytes(np.asarray(image))
    if image.mode == "LAB":
        return np.asarray(image.getchannel("L"))
    if image.has_transparency_data:
        return _flatten(image.convert("RGBA"))
    return np.asarray(image if image.mode == "L" else image.convert("RGB").convert("L"))


def _scale_to_bytes(values: np.ndarray) -> np.ndarray:
    """Integers of 8 or 16 bits, floats in 0..1 or 0..255; anything else by its own range."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    for top in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return np.rint(values * (255 / top)).astype(np.uint8)
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _flatten(image: Image.Image) -> np.ndarray:
    """Put a transparent picture on white, or on black where white would hide the drawing."""
    on_white, on_black = (
        np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("L"))
        for ground in ("white", "black")
    )
    hidden = np.ptp(on_white) < MIN_RANGE and np.ptp(on_black) > np.ptp(on_white)
    return on_black if hidden else on_white


def _damaged() -> ImageError:
    return ImageError("The picture is damaged or cut off: send the whole file again.", 422)


def _too_large() -> ImageError:
    return ImageError(
        f"The picture has too many pixels: send at most {MAX_PIXELS // 1_000_000} million "
        f"as JPEG, {MAX_DECODED_PIXELS // 1_000_000} million in other formats.",
        413,
    )
