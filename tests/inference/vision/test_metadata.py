"""What the pixels do not need does not decide whether a picture is read."""

import tracemalloc

import numpy as np
import pytest
from broken_metadata import BROKEN, broken_metadata, chunk
from PIL import Image, ImageDraw
from tiny_model import encoded
from vision.gray import decode
from vision.image import ImageError, open_image

# Pillow warns of the metadata that it reads.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def seven(format: str) -> bytes:
    picture = Image.new("L", (64, 80), 250)
    ImageDraw.Draw(picture).line([(14, 14), (50, 14), (26, 66)], fill=10, width=7)
    return encoded(picture, format, **({"lossless": True} if format == "WEBP" else {}))


def gray(data: bytes) -> np.ndarray:
    return decode(open_image(data)).gray


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        gray(data)
    return caught.value.reason


def half(format: str) -> bytes:
    """The picture without the second half of its pixels."""
    data = seven(format)
    if format == "PNG":
        start, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
        return data[: start - 8] + chunk("IDAT", data[start : (start + end) // 2]) + data[end + 4 :]
    start = data.index(b"\xff\xda") if format == "JPEG" else 0
    return data[: (start + len(data)) // 2]


@pytest.mark.parametrize("format", BROKEN)
def test_a_picture_with_broken_metadata_is_read_as_without_it(format):
    clean = seven(format)
    expected, failed = gray(clean), []
    for name, data in broken_metadata(format, clean).items():
        try:
            if not np.array_equal(gray(data), expected):
                failed.append(f"{name}: another picture")
        except ImageError as error:
            failed.append(f"{name}: {error.reason}")
    assert not failed


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_picture_with_damaged_pixels_is_refused_whatever_its_metadata(format):
    for name, data in broken_metadata(format, half(format)).items():
        assert reason(data) == "damaged", name


def test_a_picture_without_its_palette_is_refused():
    data = encoded(Image.fromarray(gray(seven("PNG"))).convert("P"))
    assert reason(data.replace(b"PLTE", b"plTE")) == "damaged"


def test_a_text_chunk_is_skipped_and_not_unpacked():
    for name, data in broken_metadata("PNG", seven("PNG")).items():
        tracemalloc.start()
        gray(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000 + 2 * len(data), name


def test_a_progressive_jpeg_without_its_end_is_refused_because_scans_may_be_missing():
    picture = Image.fromarray(gray(seven("PNG")))
    assert reason(encoded(picture, "JPEG", progressive=True)[:-2]) == "damaged"


def test_the_size_of_a_webp_is_limited_even_if_another_chunk_comes_first():
    data = broken_metadata("WEBP", seven("WEBP"))["unknown"]
    at = data.index(b"VP8X")
    large = data[: at + 12] + b"\xff\x3f\0\xff\x3f\0" + data[at + 18 :]
    chunk = b"PSAI\4\0\0\0abcd"
    assert reason(large[:12] + chunk + large[12:]) == "too_large"
