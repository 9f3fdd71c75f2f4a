"""Good pictures with broken metadata, as viewers show them.

for name, data in broken_metadata("PNG", encoded(picture, "PNG")).items(): ...

The picture's own bytes may be damaged, too: what is added does not depend on them.
"""

import struct
import zlib

# Every kind of chunk that PNG defines beside the pixels, those of animations and two others.
PNG_CHUNKS = (
    *("iCCP", "tEXt", "zTXt", "iTXt", "eXIf", "pHYs", "gAMA", "cHRM", "sRGB", "sBIT", "bKGD"),
    *("hIST", "tIME", "sPLT", "acTL", "fcTL", "fdAT", "prVt", "s\1IT", "s\xc1IT"),
)
NONSENSE = b"\xff\xfe nonsense \0\xff" * 5
BOMB = zlib.compress(bytes(20_000_000), 9)  # 20 kB
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# A directory of a resolution whose text is empty, and one of two pictures that are not there.
EMPTY_TEXT = b"II*\0\x08\0\0\0\x01\0\x1a\x01\x02\0\x01\0\0\0\0\0\0\0\0\0\0\0"
TWO_PICTURES = b"II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0\0\0\0\0"
JPEG_SEGMENTS = {
    "EXIF": (0xE1, (EXIF, EXIF + NONSENSE, EXIF + EMPTY_TEXT, EXIF + b"II*\0\xff\xff\xff\x7f")),
    "XMP": (0xE1, (XMP, XMP + b'<x tiff:Orientation="9"' + NONSENSE)),
    "ICC": (0xE2, (b"ICC_PROFILE\0", b"ICC_PROFILE\0\5\x09" + NONSENSE)),
    "MPF": (0xE2, (b"MPF\0", b"MPF\0" + NONSENSE, b"MPF\0" + TWO_PICTURES)),
    "IPTC": (0xED, (b"Photoshop 3.0\0008BIM\3\xed", b"Photoshop 3.0\0008BIM\4\4\0\0\xff\xff\xff")),
    "JFIF": (0xE0, (b"JFIF", b"JFIF\0\1")),
    "Adobe": (0xEE, (b"Adobe", b"Adobe\0")),
    "preview": (0xE1, (b"\xff\xd8" + b"\xff\xda" * 40 + b"\xff\xd9",)),
    "comment": (0xFE, (NONSENSE, b"\xff\xda" * 40)),
}
# Tag, type, count and value or offset.
TIFF_TAGS = {
    "unknown": (65000, 2, 400, 2**31 - 1),
    "EXIF nowhere": (34665, 4, 1, 2**31 - 1),
    "XMP that is a number": (700, 3, 1, 5),
    "XMP that is text": (700, 2, 4, 6513249),
    "orientation that is text": (274, 2, 4, 6513249),
}


def inserted(data: bytes, at: int, more: bytes) -> bytes:
    return data[:at] + more + data[at:]


def chunk(name: str, body: bytes, checksum: int | None = None) -> bytes:
    """A chunk of a PNG."""
    content = name.encode("latin-1") + body
    checksum = zlib.crc32(content) if checksum is None else checksum
    return struct.pack(">I", len(body)) + content + struct.pack(">I", checksum)


def png(picture: bytes) -> dict[str, bytes]:
    chunks = {"bomb in zTXt": chunk("zTXt", b"k\0\0" + BOMB)}
    chunks["bomb in iTXt"] = chunk("iTXt", b"k\0\1\0\0\0" + BOMB)
    chunks["bomb in iCCP"] = chunk("iCCP", b"k\0\0" + BOMB)
    chunks["long tEXt"] = chunk("tEXt", b"k\0" + b"a" * 1_100_000)
    chunks["raw EXIF"] = chunk("tEXt", b"Raw profile type exif\0\n\n\nzz")
    for name in PNG_CHUNKS:
        chunks[f"checksum of {name!r}"] = chunk(name, b"k\0" + bytes(40), 7)
        chunks[f"empty {name!r}"] = chunk(name, b"")
        chunks[f"nonsense in {name!r}"] = chunk(name, NONSENSE)
    end = picture.index(b"IEND") - 4 if b"IEND" in picture else len(picture)
    files = {f"{kind}, before": inserted(picture, 33, more) for kind, more in chunks.items()}
    files |= {f"{kind}, after": inserted(picture, end, more) for kind, more in chunks.items()}
    files["chunk cut off, after"] = inserted(picture, end, b"\0\1\0\0tEXtabc")
    files["no end"] = picture[:end]
    files["data after the end"] = picture + NONSENSE
    return files


def jpeg(picture: bytes) -> dict[str, bytes]:
    files = {}
    frame = picture.index(b"\xff\xc0")
    for name, (marker, bodies) in JPEG_SEGMENTS.items():
        for number, body in enumerate(bodies):
            segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
            for place, at in (("first", 2), ("later", frame)):
                files[f"{name} {number}, {place}"] = inserted(picture, at, segment)
    files["bytes after the start"] = inserted(picture, 2, b"\0\0")
    files["bytes before a marker"] = inserted(picture, frame, b"junk\0\xff\0\xff\xff")
    files["no end marker"] = picture[:-2]
    files["half an end marker"] = picture[:-1]
    files["a byte after the end"] = picture + b"\n"
    return files


def webp(picture: bytes) -> dict[str, bytes]:
    """The picture is a lossless one of 64x80 pixels, which is one chunk."""

    def riff(flags: int, before: bytes, after: bytes) -> bytes:
        canvas = b"VP8X\x0a\0\0\0" + bytes([flags, 0, 0, 0, 63, 0, 0, 79, 0, 0])
        body = b"WEBP" + canvas + before + picture[12:] + after
        return b"RIFF" + struct.pack("<I", len(body)) + body

    return {
        "EXIF": riff(8, b"", b"EXIF\x08\0\0\0nonsense"),
        "EXIF too long": riff(8, b"", b"EXIF\xff\xff\0\0abc"),
        "EXIF far too long": riff(8, b"", b"EXIF\xff\xff\xff\xffabc"),
        "EXIF missing": riff(8, b"", b""),
        "XMP": riff(4, b"", b"XMP \x04\0\0\0\xff\xfe\0\0"),
        "ICC": riff(32, b"ICCP\x08\0\0\0nonsense", b""),
        "ICC missing": riff(32, b"", b""),
        "unknown": riff(0, b"PSAI\4\0\0\0abcd", b""),
        "bytes after the pixels": riff(0, b"", b"abc"),
        "length of the file too large": picture[:4] + b"\xff\xff\0\0" + picture[8:],
        "length of the file too small": picture[:4] + b"\x10\0\0\0" + picture[8:],
    }


def bmp(picture: bytes) -> dict[str, bytes]:
    return {
        f"{value} colours": picture[:46] + struct.pack("<I", value) + picture[50:]
        for value in (0, 300, 2**31, 2**32 - 1)
    }


def tiff(picture: bytes) -> dict[str, bytes]:
    """The directory is written anew, at the end, with another tag."""
    picture += b"\0" * (len(picture) % 2)
    (at,) = struct.unpack_from("<I", picture, 4)
    end = at + 2 + 12 * struct.unpack_from("<H", picture, at)[0]
    entries = list(struct.iter_unpack("<HHII", picture[at + 2 : end]))
    files = {}
    for name, tag in TIFF_TAGS.items():
        tags = sorted([*(entry for entry in entries if entry[0] != tag[0]), tag])
        directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *e) for e in tags)
        padded = picture + b"\0" * (len(picture) % 2)
        files[name] = (
            padded[:4] + struct.pack("<I", len(padded)) + padded[8:] + directory + bytes(4)
        )
        files[f"{name}, and no next one"] = files[name][:-4] + b"\xff\xff\xff\x7f"
    return files


# By format. The extensions of a GIF are left to Pillow.
BROKEN = {"PNG": png, "JPEG": jpeg, "WEBP": webp, "BMP": bmp, "TIFF": tiff}


def broken_metadata(format: str, picture: bytes) -> dict[str, bytes]:
    """Return files of the picture with one broken thing each."""
    return BROKEN[format](picture)
