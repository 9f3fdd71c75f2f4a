"""From an upload to what its pixels need, because viewers show pictures with broken metadata.

data, exif = without_metadata(upload)

What is left out is skipped, not unpacked: profiles, comments, previews, further pictures.
"""

import re

PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_PIXELS = (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
# The marker of a JPEG segment. Those from E0 on are of applications, of extensions and comments.
SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd9\xff]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
# The decoder reads eight bytes ahead. Where the end marker is missing, one bits stand in for them,
# which are no code of a pixel.
UNENDED = b"\xff\0" * 8
# JFIF and Adobe segments tell how colours are stored. Shorter ones are broken.
COLOUR_SEGMENTS, COLOUR_LENGTH = (0xE0, 0xEE), 14


def without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Return a picture without its metadata, and its EXIF data, which may say how to turn it.

    Data of another format, and TIFF, whose tags are not in the way of its pixels, are returned
    as they are. Raises IndexError if the header of a GIF or BMP is cut off.
    """
    if data.startswith(b"\xff\xd8"):
        return strip_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return strip_png(data)
    if data[8:12] == b"WEBP":
        return strip_webp(data)
    if data.startswith(b"GIF8"):
        return strip_gif(data), b""
    if data.startswith(b"BM"):
        return limit_bmp_colours(data), b""
    return data, b""


def strip_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Keep the tables and all from the first scan on; skip what is between segments."""
    kept, exif, at = bytearray(b"\xff\xd8"), b"", 2
    while match := SEGMENT.search(data, at):
        at = match.end()
        marker, end = data[at - 1], at + (data[at] << 8 | data[at + 1])
        if marker == START_OF_SCAN:
            kept += data[at - 2 :] + (UNENDED if data.rfind(END_OF_IMAGE, at) < 0 else b"")
            break
        if marker < 0xE0 or marker in COLOUR_SEGMENTS and end - at >= COLOUR_LENGTH:
            kept += data[at - 2 : end]
        elif data[at + 2 : at + 6] == b"Exif":
            exif = exif or data[at + 2 : end]
        at = end
    return bytes(kept), exif


def strip_png(data: bytes) -> tuple[bytes, bytes]:
    """Keep the chunks that the first picture needs."""
    kept, exif, at = bytearray(data[:8]), b"", 8
    while at < len(data):
        name, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if name in PNG_PIXELS:
            kept += data[at:end]
        elif name == b"eXIf":
            exif = data[at + 8 : end - 4]
        at = len(data) if name == b"IEND" else end
    return bytes(kept), exif


def strip_webp(data: bytes) -> tuple[bytes, bytes]:
    """Keep the chunks of pixels, and correct the length of the whole."""
    kept, exif, at = bytearray(b"WEBP"), b"", 12
    while at < len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if name in WEBP_PIXELS:
            kept += data[at:end]
        elif name == b"EXIF":
            exif = data[at + 8 : end]
        at = end
    return b"RIFF" + len(kept).to_bytes(4, "little") + kept, exif


def strip_gif(data: bytes) -> bytes:
    """Skip the extensions before the first picture, except the one for transparency."""
    at = 13 + (6 << (data[10] & 7) if data[10] & 128 else 0)
    kept = bytearray(data[:at])
    while data[at : at + 1] == b"!":
        end = at + 2
        while data[end]:
            end += 1 + data[end]
        end += 1
        if data[at + 1 : at + 3] == b"\xf9\x04":
            kept += data[at:end]
        at = end
    return bytes(kept + data[at:])


def limit_bmp_colours(data: bytes) -> bytes:
    """Let a BMP whose table would have over 256 colours have as many as its depth takes."""
    if data[14] < 40 or int.from_bytes(data[46:50], "little") <= 256:
        return data
    return data[:46] + bytes(4) + data[50:]
