"""From bytes to image: recognise the format of an upload and check what decoding it costs.

image = open_image(data)

Sizes are limited by the memory that decoding takes, which depends on the format and the mode: a
gray PNG takes one byte per pixel, a WebP seventeen.
"""

import io
import struct
import zlib

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH
from vision.metadata import without_metadata

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
ACCEPTED = "JPEG, PNG, BMP, GIF, WebP or TIFF"
# The first bytes of each format, to tell a damaged picture from another type of file.
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
# The brands of HEIC and AVIF files, which phones write (ISO/IEC 23008-12, section 10).
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")

MAX_PIXELS = 40_000_000
MAX_DECODED_BYTES = 100_000_000
# libwebp keeps two canvases and the frame; it allocates them when the file is opened, so the limit
# must be checked before that.
WEBP_BYTES_PER_PIXEL = 17
# The decoder of progressive JPEG goes over all coefficients once per scan. A scan costs its sender
# 100 bytes; encoders write about ten.
MAX_JPEG_SCANS = 32
START_OF_SCAN = b"\xff\xda"

# Pillow's own limit on pixels; check_cost replaces it.
Image.MAX_IMAGE_PIXELS = None

# The shortest side that a JPEG is decoded to.
DRAFT_SIDE = 360

# What Pillow's decoders raise on damaged files, from its source and from fuzzing.
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

DAMAGED = "The picture is damaged or cut off: send the whole file again."
UNKNOWN_FORMAT = f"This is not a picture in a known format: send a {ACCEPTED}."


HEIC = (
    "This is a HEIC or AVIF picture, as iPhones take them: send a JPEG instead. On an iPhone, set "
    "Settings, Camera, Formats to Most Compatible, or send a screenshot of the picture."
)


class ImageError(Exception):
    """A picture that cannot be used: the reason in a word, and a sentence for the sender.

    The reasons are empty, too_large, unknown_format, damaged and nothing_drawn.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_image(data: bytes) -> Image.Image:
    """Read the header of an upload and check that decoding the rest is affordable.

    Raises ImageError if it is empty, too large, damaged, or in another format.
    """
    if not data:
        raise ImageError("empty", "The picture is empty: send the whole file.")
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        raise ImageError("unknown_format", HEIC)
    try:
        needed, exif = without_metadata(data)
        if needed[8:12] == b"WEBP":
            check_cost(webp_size(needed), WEBP_BYTES_PER_PIXEL)
        image = Image.open(io.BytesIO(needed), formats=FORMATS)
        if isinstance(image, JpegImageFile):
            check_jpeg(image, needed)
        elif image.format == "TIFF":
            check_tiff(image)
        else:
            check_cost(image.size, bytes_per_pixel(image))
    except DECODER_ERRORS as error:
        if data.startswith(SIGNATURES):
            raise ImageError("damaged", DAMAGED) from error
        raise ImageError("unknown_format", UNKNOWN_FORMAT) from error
    if exif:
        image.info["exif"] = exif
    return image


def check_cost(size: tuple[int, int], bytes_per_pixel: float) -> None:
    """Raise ImageError if a picture of this size in pixels takes too much memory."""
    pixels, limit = size[0] * size[1], min(MAX_PIXELS, MAX_DECODED_BYTES / bytes_per_pixel)
    if pixels > limit:
        raise ImageError(
            "too_large",
            f"The picture has {pixels / 1e6:.1f} million pixels: "
            f"send at most {int(limit / 1e5) / 10:g} million in this format.",
        )


def bytes_per_pixel(image: Image.Image) -> int:
    """Return the peak memory of decoding and converting a picture.

    Pillow keeps a gray pixel in one byte and any other in four, of which the conversion of a
    palette, of transparency or of 16 bits takes a second copy. Measured, and rounded down by one.
    """
    return {"1": 1, "L": 1, "RGB": 4}.get(image.mode, 8)


def check_jpeg(image: JpegImageFile, data: bytes) -> None:
    """Check the cost of a JPEG, most of which is decoded at a fraction of its size.

    The decoder of a progressive one keeps a 16-bit coefficient for each component of each pixel.
    """
    if data.count(START_OF_SCAN) > MAX_JPEG_SCANS:
        raise ImageError("damaged", DAMAGED)
    cost = 4 / jpeg_scale(image.size) ** 2
    if "progressive" in image.info:
        cost += 2 * len(image.getbands())
    check_cost(image.size, cost)


def check_tiff(image: Image.Image) -> None:
    """Check the cost of a TIFF, whose tiles may be larger than the picture.

    libtiff may hold a second copy of the picture in one strip.
    """
    cost = 2 * bytes_per_pixel(image)
    image.info.pop("xmp", None)  # Pillow would search it for an orientation, whatever its type.
    check_cost(image.size, cost)
    check_cost((image.tag_v2.get(TILEWIDTH, 1), image.tag_v2.get(TILELENGTH, 1)), cost)


def webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the canvas, read from the first chunk (RFC 9649, section 2)."""
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def jpeg_scale(size: tuple[int, int]) -> int:
    """Return by how much to divide the sides of a JPEG while decoding it: 1, 2, 4 or 8."""
    return max((scale for scale in (2, 4, 8) if min(size) >= scale * DRAFT_SIDE), default=1)
