"""Any upload becomes an upright gray picture, or an error that says what to do."""

import io
import re
import struct

import numpy as np
import pytest
from fuzz import MODES, fuzz
from PIL import Image, ImageOps
from tiny_model import encoded
from vision import image
from vision.gray import Picture, decode
from vision.image import ImageError, open_image


def arrow() -> np.ndarray:
    """A picture that no turn or flip leaves as it is: uint8 [40, 60]."""
    page = np.full((40, 60), 240, np.uint8)
    page[5:35, 10:14] = 20
    page[5:9, 10:50] = 20
    return page


def in_mode(gray: np.ndarray, mode: str) -> Image.Image:
    """The gray picture uint8 [H, W] as a picture of the mode."""
    picture = Image.fromarray(gray)
    if mode == "I;16":
        return Image.fromarray(gray.astype(np.uint16) * 257)
    if mode == "1":
        return picture.point(lambda level: 255 * (level > 128), "1")
    if mode == "LAB":
        return Image.merge("LAB", [picture, *[Image.new("L", picture.size, 128)] * 2])
    return picture.convert(mode)


def encode(pixels: np.ndarray, format: str = "PNG") -> bytes:
    return encoded(Image.fromarray(pixels), format)


def read(data: bytes) -> Picture:
    return decode(open_image(data))


def read_image(data: bytes) -> np.ndarray:
    return read(data).gray


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(data)
    return caught.value


@pytest.mark.parametrize(
    ("format", "mode"), [(format, mode) for format, modes in MODES.items() for mode in modes]
)
def test_every_format_and_mode_gives_the_same_gray_picture_of_bounded_size(format, mode):
    gray = read_image(encoded(in_mode(arrow(), mode), format))
    assert (gray.dtype, gray.shape) == (np.uint8, (40, 60))
    assert abs(gray.astype(int) - arrow()).mean() < (16 if mode == "1" else 5)
    large = np.kron(arrow(), np.ones((30, 30), np.uint8))  # 1800x1200, halved when it is read
    gray = read_image(encoded(in_mode(large, mode), format))
    assert gray.shape == (600, 900)
    # A palette's dither is averaged away.
    assert abs(gray[7::15, 7::15].astype(int) - arrow()).max() <= 24


def test_a_28x28_gray_picture_keeps_its_exact_values():
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    for format in ("PNG", "BMP", "GIF", "TIFF"):
        assert np.array_equal(read_image(encode(digit, format)), digit), format


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright_as_its_exif_says(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(arrow()), format, exif=exif)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert abs(read_image(data) - np.asarray(shown.convert("L"), int)).mean() < 12
    assert read(data).size == shown.size


@pytest.mark.parametrize("level", [0, 128, 255])
def test_strokes_on_a_transparent_ground_stay_visible_whatever_their_colour(level):
    picture = np.full((40, 60, 4), level, np.uint8)
    picture[..., 3] = 255 * (arrow() < 128)
    gray = read_image(encode(picture))
    ink, ground = gray[arrow() < 128], gray[arrow() > 128]
    assert abs(int(ink[0]) - int(ground[0])) >= 100
    assert np.ptp(ink) == np.ptp(ground) == 0


def test_a_palette_with_a_transparent_colour_is_put_on_white():
    palette = Image.fromarray((arrow() > 128).astype(np.uint8)).convert("P")
    palette.putpalette([10, 10, 10, 0, 0, 0])
    gray = read_image(encoded(palette, "PNG", transparency=1))
    assert gray[0, 0] == 255
    assert gray[6, 12] == 10


@pytest.mark.parametrize(
    ("format", "pixels"),
    [
        ("PNG", arrow().astype(np.uint16) * 257),
        ("TIFF", arrow().astype(np.float32)),
        ("TIFF", arrow().astype(np.float32) / 255),
        ("TIFF", np.where(arrow() > 128, np.float32(3), np.float32(-2))),
    ],
    ids=["16 bits", "floats to 255", "floats to 1", "other floats"],
)
def test_other_kinds_of_pixels_are_scaled_and_not_clipped(format, pixels):
    gray = read_image(encode(pixels, format))
    expected = 255 * (arrow() > 128) if pixels.min() < 0 else arrow()
    assert np.array_equal(gray, expected)


@pytest.mark.parametrize("format", image.FORMATS)
def test_a_picture_cut_off_anywhere_is_refused_as_damaged(format):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = encode(noise, format)
    for share in (0.02, 0.5, 0.9):
        error = refused(data[: max(4, int(len(data) * share))])
        assert error.reason == "damaged"
        assert "damaged or cut off" in str(error)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"hello, world", "send a JPEG, PNG"),
        (b"<svg></svg>", "send a JPEG, PNG"),
        (encoded(Image.fromarray(arrow()), "PPM"), "send a JPEG, PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC.*: send a JPEG instead"),
        (b"\0\0\0\x18ftypavif" + bytes(100), "HEIC.*: send a JPEG instead"),
    ],
    ids=["text", "svg", "ppm", "heic", "avif"],
)
def test_another_type_of_file_is_refused_with_what_to_do(data, advice):
    error = refused(data)
    assert error.reason == "unknown_format"
    assert re.search(advice, str(error))


def test_1000_damaged_pictures_cause_no_server_error(model_path):
    statuses, _, failures = fuzz(model_path, 1000)  # make fuzz sends a hundred times as much.
    assert not failures
    assert {200, 415, 422} <= set(statuses) <= {200, 400, 413, 415, 422}


def test_the_limit_in_the_message_is_not_rounded_up():
    with pytest.raises(ImageError, match="send at most 5.8 million"):
        image.check_cost((5_900, 1_000), image.WEBP_BYTES_PER_PIXEL)


def test_a_jpeg_of_endless_scans_is_refused():
    data = encoded(Image.fromarray(arrow()), "JPEG", progressive=True)
    scans = b"\xff\xda\0\x08\x01\x01\0\x01\x05\0" * 1000
    assert refused(data[:-2] + scans + data[-2:]).reason == "damaged"


@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_a_photo_of_twelve_megapixels_is_decoded_at_a_reduced_size(format):
    photo = Image.new("RGB", (4000, 3000), "white")
    photo.paste("black", (1900, 1000, 2100, 2000))
    # Phones write an MPO, a JPEG with several pictures.
    more = {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}
    data = encoded(photo, format, **(more if format == "MPO" else {}))
    assert Image.open(io.BytesIO(data)).format == format
    gray, size = read(data)
    assert (gray.shape, size) == ((375, 500), (4000, 3000))
    assert gray[187, 250] < 20
    assert gray[0, 0] > 235


def test_the_tiles_of_a_tiff_are_limited_too():
    data = bytearray(encoded(Image.new("L", (64, 64)), "TIFF"))
    fields = {322: 60000, 323: 60000}  # Tile width and length, in place of two other fields.
    for place, (tag, value) in zip((262, 278), fields.items(), strict=True):
        at = data.index(struct.pack("<H", place), int.from_bytes(data[4:8], "little"))
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    assert refused(bytes(data)).reason in ("too_large", "damaged")


def test_a_narrow_picture_is_reduced_to_one_pixel_and_not_to_none():
    assert read_image(encoded(Image.new("L", (5000, 3), 255))).shape == (1, 1000)
