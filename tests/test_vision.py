"""The stages gray, ink, digits, 28x28: what they return, and that any picture is handled."""

import numpy as np
import pytest
from classifier import read_model, run
from digits import MAX_DIGITS, label_pieces
from drawing.synthetic import draw_digits
from gray import decode
from handwriting import PAGE, encode, paint, pen, place
from image import ImageError, open_image
from ink import is_dark_on_light, otsu_threshold
from mnist_form import SIDE, stroke_width
from papers import light, ruled, shadowed_page, texture
from reading import read_all_digits, read_one_digit
from scenes import CONDITIONS


def to_mnist(gray: np.ndarray) -> tuple[np.ndarray, list[str]]:
    reading = read_one_digit(gray)
    return reading.digits[0], reading.warnings


def never_cut(images: np.ndarray) -> np.ndarray:
    """Be as confident of the whole as of its parts."""
    return np.ones(len(images))


def segment(gray: np.ndarray, confidence=never_cut) -> list[tuple[list[float], np.ndarray]]:
    reading = read_all_digits(gray, confidence)
    return list(zip(reading.boxes, reading.digits, strict=True))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return draw_digits(20, seed=5)[0]


def gray(picture: np.ndarray) -> np.ndarray:
    return decode(open_image(encode(picture))).gray


def ring() -> np.ndarray:
    """A zero on white, its middle off the page's: uint8 [200, 160]."""
    y, x = np.mgrid[0:200, 0:160]
    distance = np.hypot((x - 60) / 0.7, y - 120)
    return np.where(abs(distance - 40) < 5, 20, 250).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in gray levels, a shift by a pixel (rounding of the middle) forgiven."""
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return min(abs(np.roll(one, by, (0, 1)).astype(int) - other).mean() for by in shifts)


def test_a_28x28_picture_light_on_dark_is_returned_unchanged(digits):
    for digit in digits:
        image, warnings = to_mnist(digit)
        assert np.array_equal(image, digit)
        assert warnings == []


def test_a_28x28_picture_dark_on_light_is_only_inverted(digits):
    for digit in digits:
        assert np.array_equal(to_mnist(255 - digit)[0], digit)


def test_the_result_has_mnists_form():
    image, warnings = to_mnist(ring())
    assert warnings == []
    assert image.shape == (SIDE, SIDE)
    assert image.dtype == np.uint8
    _, _, width, height = bounds(image > 127)
    assert height == 20
    assert 12 <= width <= 16  # the aspect of the ring is 0.7
    weight = image / image.sum()
    middle = (weight.sum(axis=1) @ np.arange(SIDE), weight.sum(axis=0) @ np.arange(SIDE))
    assert middle == pytest.approx((14, 14), abs=0.51)
    assert image.max() == 255
    assert (image == 0).mean() > 0.6


def test_the_same_digit_gives_the_same_form_whatever_its_polarity_or_place():
    straight = to_mnist(ring())[0].astype(int)
    assert np.array_equal(to_mnist(255 - ring())[0], straight)
    moved = np.roll(ring(), (-30, 40), axis=(0, 1))
    assert abs(to_mnist(moved)[0] - straight).mean() < 6


@pytest.mark.parametrize("darkest", [1.0, 0.5, 0.25])
def test_ink_is_separated_from_paper_under_uneven_light(digits, darkest):
    rng = np.random.default_rng(0)
    for digit in digits[:5]:
        page = paint(place(digit)) * light(rng, (PAGE, PAGE), darkest)
        assert is_dark_on_light(gray(page))
        assert not is_dark_on_light(255 - gray(page))


@pytest.mark.parametrize("width", [0.5, 4.0])
def test_very_thin_and_very_thick_strokes_get_about_mnists_width(digits, width):
    for digit in digits:
        drawn = place(pen(digit, width))
        image, _ = to_mnist(gray(paint(drawn)))
        assert 1.5 < stroke_width(image) < 4


@pytest.mark.parametrize("columns", [False, True])
def test_printed_lines_are_removed_and_the_strokes_stay_whole(digits, columns):
    rng = np.random.default_rng(0)
    changes = []
    for digit in digits:
        clean = to_mnist(gray(paint(place(digit))))[0].astype(int)
        lined = to_mnist(gray(paint(place(digit), paper=ruled(rng, columns))))[0]
        changes.append(abs(lined - clean).mean())
    assert np.median(changes) < 8


def test_specks_and_the_dark_edge_of_a_scan_are_left_out():
    page = ring()
    clean = to_mnist(page)[0]
    page[:, :6] = 30
    page[20:23, 140:143] = 30
    assert abs(to_mnist(page)[0].astype(int) - clean).mean() < 1


def test_an_empty_page_with_a_hard_shadow_is_refused():
    rng = np.random.default_rng(0)
    for _ in range(10):
        with pytest.raises(ImageError, match="Nothing is drawn"):
            to_mnist(decode(open_image(shadowed_page(rng))).gray)


def empty_pages() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    white = np.full((PAGE, PAGE, 3), 245.0)
    return {
        "white": white,
        "black 28x28": np.zeros((28, 28)),
        "one pixel": np.zeros((1, 1)),
        "texture": texture(rng) * np.ones(3),
        "shade": white * light(rng, (PAGE, PAGE), 0.5),
        "lined": ruled(rng, False),
        "squared": ruled(rng, True),
        "noise": rng.integers(0, 256, (PAGE, PAGE)),
    }


@pytest.mark.parametrize("page", empty_pages().values(), ids=empty_pages())
@pytest.mark.parametrize("read", [to_mnist, segment])
def test_an_empty_page_is_refused_with_an_explanation(page, read):
    with pytest.raises(ImageError, match="Nothing is drawn") as caught:
        read(gray(page))
    assert caught.value.status == 422


def test_a_filled_square_gets_a_warning():
    page = np.full((200, 200), 250, np.uint8)
    page[60:130, 60:140] = 10
    assert any("filled shape" in warning for warning in to_mnist(page)[1])


def test_a_faint_drawing_gets_a_warning_and_is_read(digits):
    image, warnings = to_mnist(gray(paint(place(digits[0]), 215, 245)))
    assert warnings == ["The drawing is faint."]
    clean = to_mnist(gray(paint(place(digits[0]))))[0]
    assert abs(image.astype(int) - clean).mean() < 10


def test_two_digits_get_a_warning_and_the_larger_is_read():
    page = np.full((200, 400), 250, np.uint8)
    page[:, :160] = ring()
    page[80:150, 300:310] = 20
    image, warnings = to_mnist(page)
    assert any("More than one digit" in warning for warning in warnings)
    assert difference(image, to_mnist(ring())[0]) < 6


def bar() -> np.ndarray:
    """A one on white: uint8 [200, 160]."""
    page = np.full((200, 160), 250, np.uint8)
    page[80:160, 55:64] = 20
    return page


def test_a_row_of_digits_is_found_left_to_right_with_boxes_in_its_own_pixels():
    page = np.hstack([ring(), bar(), ring()])
    for enlarged in (1, 3):
        found = segment(page.repeat(enlarged, axis=0).repeat(enlarged, axis=1))
        boxes = np.array([box for box, _ in found])
        expected = np.array([[29, 75, 63, 90], [215, 80, 9, 80], [349, 75, 63, 90]]) * enlarged
        assert boxes.shape == expected.shape
        assert abs(boxes - expected).max() <= 4 * enlarged
        for (_, image), alone in zip(found, (ring(), bar(), ring()), strict=True):
            assert difference(image, to_mnist(alone)[0]) < 8


def test_two_digits_that_touch_are_cut_where_one_stroke_joins_them(model_file):
    model = read_model(model_file.read_bytes())
    page = np.hstack([ring()[:, :110], bar()])
    page[118:124, 85:175] = 20
    (left, _), (right, _) = segment(page, lambda images: run(model, images).max(axis=1))
    assert left[0] == pytest.approx(29, abs=2)
    assert left[0] + left[2] == pytest.approx(right[0], abs=4)
    assert 90 < right[0] < 165


def test_a_digit_cropped_to_its_box_is_read_in_both_polarities():
    rng = np.random.default_rng(0)
    images, labels = draw_digits(100, seed=5)
    for digit in images[labels == 4]:  # A straight 1 would fill its box.
        whole = to_mnist(gray(paint(place(digit))))[0]
        for crop in (CONDITIONS["tight crop"](digit, rng) for _ in range(4)):
            image, _ = to_mnist(decode(open_image(crop)).gray)
            assert difference(image, whole) < 20


def test_a_sheet_on_a_dark_table_is_read_as_the_sheet_alone():
    scene = np.full((360, 320), 30, np.uint8)
    scene[80:280, 80:240] = ring()
    image, warnings = to_mnist(scene)
    assert warnings == []
    assert difference(image, to_mnist(ring())[0]) < 8


def test_components_are_those_of_a_flood_fill():
    rng = np.random.default_rng(0)
    for _ in range(100):
        inner = rng.random((rng.integers(1, 30), rng.integers(1, 30))) < rng.random()
        mask = np.pad(inner, 1)
        labels, boxes = label_pieces(mask)
        assert np.array_equal(np.unique(labels[mask]), np.arange(1, len(boxes) + 1))
        assert np.array_equal(flood(mask), flood_names(labels, mask))


def arbitrary_pictures() -> list[np.ndarray]:
    """A short dash, single pixels, noise and dashes of many shapes."""
    rng = np.random.default_rng(0)
    dash = np.full((60, 100), 255, np.uint8)
    dash[10:12, 20:26] = 0
    pictures = [dash]
    for _ in range(300):
        height, width = rng.integers(1, rng.choice([4, 40, 400], 2) + 1)
        page = np.full((height, width), rng.integers(256), np.uint8)
        for _ in range(rng.integers(6)):
            y, x = rng.integers(height), rng.integers(width)
            down, right = rng.integers(1, rng.choice([2, 8, 200], 2) + 1)
            page[y : y + down, x : x + right] = rng.integers(256)
        if rng.random() < 0.2:
            page = rng.integers(0, 256, page.shape, dtype=np.uint8)
        pictures.append(page)
    return pictures


@pytest.mark.parametrize("read", [read_one_digit, lambda gray: read_all_digits(gray, never_cut)])
def test_any_picture_gives_digits_or_nothing_drawn(read):
    for picture in arbitrary_pictures():
        try:
            digits = read(picture).digits
        except ImageError as caught:
            reason, digits = caught.reason, []
        else:
            reason = "digits"
        assert reason in ("nothing_drawn", "digits")
        assert (reason == "digits") <= (1 <= len(digits) <= MAX_DIGITS)
        assert all(digit.shape == (SIDE, SIDE) for digit in digits)


def test_a_picture_with_many_strokes_gives_a_limited_number_of_digits():
    page = np.full((200, 1020), 255, np.uint8)
    page[20:180, 10:1010:10] = 0
    assert len(segment(page)) == MAX_DIGITS


def flood(mask: np.ndarray) -> np.ndarray:
    """Every piece named by its first pixel: slow and plain."""
    names = np.where(mask, np.arange(mask.size).reshape(mask.shape) + 1, 0)
    while True:
        padded = np.pad(np.where(mask, names, mask.size + 1), 1, constant_values=mask.size + 1)
        height, width = mask.shape
        near = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        lower = np.where(mask, np.minimum.reduce(near), 0)
        if np.array_equal(lower, names):
            return names
        names = lower


def flood_names(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    first = np.zeros(labels.max() + 1, int)
    values, places = np.unique(labels, return_index=True)
    first[values] = places + 1
    return np.where(mask, first[labels], 0)


def test_the_threshold_lies_between_two_groups_of_pixels():
    values = np.repeat(np.array([25, 180], np.uint8), [900, 100])
    assert 25 < otsu_threshold(values) < 180
