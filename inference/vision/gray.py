"""From image to gray: decode an opened image to one upright gray picture of bounded size.

picture = decode(open_image(data))
"""

from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile
from vision.image import DAMAGED, DECODER_ERRORS, ImageError, jpeg_scale

# The longest side of the gray picture, in pixels.
MAX_SIDE = 1024
# For the EXIF orientations 1 to 8.
TRANSPOSITIONS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


class Picture(NamedTuple):
    """A decoded picture, and the size in pixels of the upload as a viewer shows it.

    gray is uint8 [height, width], upright, its longer side at most MAX_SIDE; size is
    (width, height) before that reduction.
    """

    gray: np.ndarray
    size: tuple[int, int]


def decode(image: Image.Image) -> Picture:
    """Decode an opened picture to gray, with a plain background where it is transparent.

    An 8-bit gray picture that is not reduced keeps its exact values. Raises ImageError if
    the file is damaged.
    """
    width, height = image.size
    scale = jpeg_scale(image.size)
    if isinstance(image, JpegImageFile):
        image.draft("L", (width // scale, height // scale))
    try:
        image.load()
    except DECODER_ERRORS as error:
        raise ImageError("damaged", DAMAGED) from error
    if image.mode == "P" and image.palette is None:
        raise ImageError("damaged", DAMAGED)
    orientation = read_orientation(image)
    image = reduce_to_limit(image)
    if (turn := TRANSPOSITIONS[orientation - 1]) is not None:
        image = image.transpose(turn)
    return Picture(to_gray(image), (height, width) if orientation > 4 else (width, height))


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, by which a decoded picture must still be turned."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODER_ERRORS:
        return 1  # Damaged metadata does not affect the pixels.
    return orientation if orientation in range(1, 9) else 1


def reduce_to_limit(image: Image.Image) -> Image.Image:
    """Average blocks of pixels so that the longer side is at most MAX_SIDE."""
    factor = -(-max(image.size) // MAX_SIDE)
    if factor == 1:
        return image
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode.startswith("I;16"):
        image = image.convert("I")  # Pillow cannot reduce 16 bits.
    # A side shorter than the factor is reduced to one pixel, not to none.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def to_gray(image: Image.Image) -> np.ndarray:
    """Convert a picture of any mode to uint8 [height, width]."""
    if image.mode.startswith(("I", "F")):
        return scale_to_bytes(np.asarray(image))
    if image.mode == "LAB":
        return np.asarray(image.getchannel("L"))
    if image.has_transparency_data:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            return flatten(image)
    return np.asarray(image.convert("L"))


def scale_to_bytes(values: np.ndarray) -> np.ndarray:
    """Map integers of 8 or 16 bits and floats in 0..1 or 0..255 to uint8, others by their range."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    for top in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return np.rint(values * (255 / top)).astype(np.uint8)
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def flatten(image: Image.Image) -> np.ndarray:
    """Put a transparent RGBA picture on white, or on black if it is seen better there."""

    def on(background: str) -> np.ndarray:
        plain = Image.new("RGBA", image.size, background)
        return np.asarray(Image.alpha_composite(plain, image).convert("L"))

    return max(on("white"), on("black"), key=np.ptp)
