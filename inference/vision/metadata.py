"""From an upload to what its pixels need, because viewers show pictures with broken metadata.

data, exif = without_metadata(upload)

What is left out is skipped, not unpacked: profiles, comments, previews, further pictures.
"""

import re

# The chunks of PNG and of WebP. PNG's fcTL and fdAT belong to further pictures.
PIXEL_CHUNKS = {*b"IHDR PLTE tRNS IDAT IEND VP8X ANIM ANMF ALPH VP8L".split(), b"VP8 "}
# The marker of a JPEG segment. Those from E0 on are of applications, of extensions and comments.
SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd9\xff]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
# JFIF and Adobe: they tell how colours are stored, and are broken if shorter.
COLOUR_SEGMENTS, COLOUR_LENGTH = (0xE0, 0xEE), 14
# The decoder reads eight bytes ahead. Where the end marker is missing, one bits stand in for them,
# which are no code of a pixel.
UNENDED = b"\xff\0" * 8


def without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Return a picture without its metadata, and its EXIF data, which may say how to turn it.

    Other formats are returned as they are, but a BMP with a table of over 256 colours has as many
    as its depth takes. Raises IndexError if the header is cut off.
    """
    if data.startswith(b"\xff\xd8"):
        return strip_jpeg(data)
    if data.startswith(b"\x89PNG"):
        chunks, exif = pixel_chunks(data, 8, png=True)
        return data[:8] + chunks, exif
    if data[8:12] == b"WEBP":
        chunks, exif = pixel_chunks(data, 12, png=False)
        return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WEBP" + chunks, exif
    if data.startswith(b"BM") and data[14] >= 40 and int.from_bytes(data[46:50], "little") > 256:
        data = data[:46] + bytes(4) + data[50:]
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


def pixel_chunks(data: bytes, at: int, png: bool) -> tuple[bytes, bytes]:
    """Return the chunks from `at` on that the pixels need, and the content of the one of EXIF.

    PNG has length, name, content, checksum; WebP has name, length, content, padded to even.
    """
    kept, exif = bytearray(), b""
    while at < len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        name = second if png else first
        size = int.from_bytes(first, "big") if png else int.from_bytes(second, "little")
        end = at + 8 + size + (4 if png else size % 2)
        if name in PIXEL_CHUNKS:
            kept += data[at:end]
        elif name in (b"eXIf", b"EXIF"):
            exif = data[at + 8 : at + 8 + size]
        at = end
    return bytes(kept), exif
