"""Any upload becomes an upright gray picture, or an error that says what to do."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tiny_model import encoded
from vision import image
from vision.gray import MAX_SIDE, TRANSPOSITIONS, Picture, decode
from vision.image import ImageError, open_image

# The modes that Pillow writes each format in.
MODES = {
    "JPEG": "1 L RGB CMYK YCbCr",
    "PNG": "1 L LA P RGB RGBA I;16",
    "BMP": "1 L P RGB RGBA",
    "GIF": "1 L LA P RGB RGBA",
    "WEBP": "1 L LA P RGB RGBA CMYK",
    "TIFF": "1 L LA P RGB RGBA CMYK YCbCr LAB I;16 I F",
}


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
    ("format", "mode"),
    [(format, mode) for format, modes in MODES.items() for mode in modes.split()],
)
def test_every_format_and_mode_gives_the_same_gray_picture(format, mode):
    gray = read_image(encoded(in_mode(arrow(), mode), format))
    assert gray.dtype == np.uint8
    assert gray.shape == (40, 60)
    assert abs(gray.astype(int) - arrow()).mean() < (16 if mode == "1" else 5)


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF"])
def test_a_28x28_gray_picture_keeps_its_exact_values(format):
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    assert np.array_equal(read_image(encode(digit, format)), digit)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright_as_its_exif_says(format, orientation):
    # What a camera held in that orientation stores is the inverse of what a viewer does.
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(arrow())
    if undo > 1:
        stored = stored.transpose(TRANSPOSITIONS[undo - 1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif)
    assert abs(read_image(data).astype(int) - arrow()).mean() < 12
    assert read(data).size == (60, 40)


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


def test_sixteen_bit_and_float_pixels_are_scaled_and_not_clipped():
    sixteen = Image.fromarray(arrow().astype(np.uint16) * 257)
    assert np.array_equal(read_image(encoded(sixteen, "PNG")), arrow())
    floats = Image.fromarray(arrow().astype(np.float32) / 255)
    assert np.array_equal(read_image(encoded(floats, "TIFF")), arrow())


def test_the_first_frame_of_an_animation_is_read():
    first, second = Image.fromarray(arrow()), Image.new("L", (60, 40), 0)
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert np.array_equal(read_image(data), arrow())


@pytest.mark.parametrize("format", image.FORMATS)
def test_a_picture_cut_off_anywhere_is_refused_as_damaged(format):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = encode(noise, format)
    for share in (0.02, 0.5, 0.9):
        error = refused(data[: max(4, int(len(data) * share))])
        assert error.reason == "damaged"
        assert "damaged or cut off" in str(error)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the damage
@pytest.mark.parametrize("format", image.FORMATS)
def test_no_damage_raises_anything_but_an_image_error(format):
    rng = np.random.default_rng(0)
    data = encode(np.stack([arrow()] * 3, axis=-1), format)
    outcomes = set()
    for _ in range(150):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(data), rng.integers(1, 8))
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            read_image(damaged.tobytes())
            outcomes.add("read")
        except ImageError as error:
            outcomes.add(error.reason)
    assert outcomes <= {"read", "too_large", "unknown_format", "damaged"}
    assert len(outcomes) > 1


@pytest.mark.parametrize("data", [b"hello, world", b"<svg></svg>", b"%PDF-1.7\n", b"\0" * 100])
def test_a_file_that_is_not_a_picture_is_an_unsupported_type(data):
    error = refused(data)
    assert error.reason == "unknown_format"
    assert "JPEG" in str(error)


def test_a_format_outside_the_list_is_an_unsupported_type():
    assert refused(encoded(Image.fromarray(arrow()), "PPM")).reason == "unknown_format"


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_heic_picture_is_refused_by_its_name_with_what_to_do(brand):
    error = refused(b"\0\0\0\x18ftyp" + brand + bytes(100))
    assert error.reason == "unknown_format"
    assert "HEIC" in str(error)
    assert "send a JPEG" in str(error)


@pytest.mark.parametrize("side", [7_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_without_decoding_it(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    error = refused(data)
    assert error.reason == "too_large"
    assert "million" in str(error)


def test_the_limit_in_the_message_is_not_rounded_up():
    with pytest.raises(ImageError, match="send at most 5.8 million"):
        image.check_cost((5_900, 1_000), image.WEBP_BYTES_PER_PIXEL)


def test_a_jpeg_of_endless_scans_is_refused():
    data = encoded(Image.fromarray(arrow()), "JPEG", progressive=True)
    scans = b"\xff\xda\0\x08\x01\x01\0\x01\x05\0" * 1000
    assert refused(data[:-2] + scans + data[-2:]).reason == "damaged"


def test_a_photo_of_twelve_megapixels_is_decoded_at_a_reduced_size():
    photo = Image.new("RGB", (4000, 3000), "white")
    photo.paste("black", (1900, 1000, 2100, 2000))
    data = encoded(photo, "JPEG")
    gray = read_image(data)
    assert gray.shape == (375, 500)
    assert read(data).size == (4000, 3000)
    assert gray[187, 250] < 20
    assert gray[0, 0] > 235


def test_a_multi_picture_jpeg_of_a_phone_is_decoded_small_like_any_jpeg():
    photo = Image.new("RGB", (4000, 3000), "white")
    data = encoded(photo, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert read(data).gray.shape == (375, 500)
    assert read(data).size == (4000, 3000)


@pytest.mark.parametrize(
    ("format", "mode", "options", "allowed", "refused_size"),
    [
        ("WEBP", "RGB", {"lossless": True}, (2400, 2400), (2500, 2500)),
        ("WEBP", "RGB", {"quality": 1}, (2400, 2400), (2500, 2500)),
        ("WEBP", "RGBA", {"lossless": True}, (2400, 2400), (2500, 2500)),
        ("JPEG", "RGB", {"progressive": True}, (3900, 3900), (4200, 4200)),
        ("JPEG", "RGB", {}, (6300, 6300), (6400, 6400)),
        ("PNG", "L", {}, (6300, 6300), (6400, 6400)),
        ("PNG", "RGB", {}, (4900, 4900), (5100, 5100)),
        ("PNG", "RGBA", {}, (3500, 3500), (3600, 3600)),
        ("PNG", "P", {}, (3500, 3500), (3600, 3600)),
        ("TIFF", "RGB", {"compression": "tiff_deflate"}, (3500, 3500), (3600, 3600)),
        ("GIF", "P", {}, (3500, 3500), (3600, 3600)),
        ("BMP", "1", {}, (6300, 6300), (6400, 6400)),
    ],
)
def test_each_format_is_limited_by_what_decoding_costs(
    format, mode, options, allowed, refused_size
):
    open_image(encoded(Image.new(mode, allowed), format, **options))
    assert refused(encoded(Image.new(mode, refused_size), format, **options)).reason == "too_large"


def test_the_tiles_of_a_tiff_are_limited_too():
    data = bytearray(encoded(Image.new("L", (64, 64)), "TIFF"))
    fields = {322: 60000, 323: 60000}  # Tile width and length, in place of two other fields.
    for place, (tag, value) in zip((262, 278), fields.items(), strict=True):
        at = data.index(struct.pack("<H", place), int.from_bytes(data[4:8], "little"))
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    assert refused(bytes(data)).reason in ("too_large", "damaged")


def test_a_large_picture_of_any_format_is_reduced():
    for size in ((3000, 2000), (5000, 3)):
        gray = read_image(encoded(Image.new("1", size, 1), "PNG"))
        assert max(gray.shape) <= MAX_SIDE
        assert gray.min() == 255


@pytest.mark.parametrize(
    ("format", "mode"),
    [(format, mode) for format in ("PNG", "TIFF") for mode in MODES[format].split()],
)
def test_a_large_picture_is_read_as_a_small_one_in_every_mode(format, mode):
    large = np.kron(arrow(), np.ones((30, 30), np.uint8))  # 1800x1200, halved when it is read
    small = read_image(encoded(in_mode(arrow(), mode), format)).astype(int)
    gray = read_image(encoded(in_mode(large, mode), format))
    assert gray.shape == (600, 900)
    # A palette's dither is averaged away.
    assert abs(gray[::15, ::15] - small).max() <= 24
