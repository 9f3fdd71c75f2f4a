"""The stages of vision/: pieces of ink, MNIST's form, and that any picture is handled."""

from contextlib import suppress

import numpy as np
import pytest
from scipy import ndimage
from template_classifier import classify
from vision.digits import MAX_DIGITS, all_pieces, find_digits, inner_pieces, kept_share, trust
from vision.image import ImageError
from vision.ink import drawing, find_ink, otsu_threshold, without_rulings
from vision.mnist_form import BOX, SIDE, mnist_picture, to_mnist
from vision.pieces import label_pieces
from vision.reading import read


def ring() -> np.ndarray:
    """A zero on white, its middle off the page's: uint8 [200, 160]."""
    y, x = np.mgrid[0:200, 0:160]
    distance = np.hypot((x - 60) / 0.7, y - 120)
    return np.where(abs(distance - 40) < 5, 20, 250).astype(np.uint8)


def ring_in_mnists_form() -> np.ndarray:
    ink = drawing(ring(), 250)
    (digit,) = find_digits(ink, inner_pieces(ink), gap=0.2)
    return to_mnist(digit.cover)


def test_a_digit_is_brought_to_mnists_form():
    image = ring_in_mnists_form()
    assert image.shape == (SIDE, SIDE)
    assert image.dtype == np.uint8
    rows, columns = (np.flatnonzero((image > 64).any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == BOX
    assert 12 <= np.ptp(columns) + 1 <= 16  # The aspect of the ring is 0.7.
    weight = image / image.sum()
    middle = (weight.sum(axis=1) @ np.arange(SIDE), weight.sum(axis=0) @ np.arange(SIDE))
    assert middle == pytest.approx((14, 14), abs=0.51)
    assert image.max() == 255
    assert (image == 0).mean() > 0.6


def test_only_a_picture_in_mnists_form_is_recognized_as_one():
    image = ring_in_mnists_form()
    assert np.array_equal(mnist_picture(image), image)
    assert np.array_equal(mnist_picture(255 - image), image)
    for other in (
        np.roll(image, 2, axis=0),  # Off the centre.
        np.maximum(image, 30),  # On gray paper.
        np.pad(image[::2, ::2], 7),  # Half as large.
        np.pad(image, 1),  # 30x30.
        np.zeros_like(image),
    ):
        assert mnist_picture(other) is None


def test_pieces_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(100):
        inner = rng.random((rng.integers(1, 30), rng.integers(1, 30))) < rng.random()
        mask = np.pad(inner, 1)
        labels, boxes, areas = label_pieces(mask)
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        assert set(labels[mask]) == {*range(1, count + 1)}
        assert len({*zip(labels[mask], expected[mask], strict=True)}) == len(boxes) == count
        assert np.array_equal(areas, np.bincount(labels.ravel(), minlength=count + 1)[1:])


def test_the_threshold_lies_between_two_groups_of_pixels():
    values = np.repeat(np.array([25, 180], np.uint8), [900, 100])
    assert 25 < otsu_threshold(np.bincount(values, minlength=256)) < 180


@pytest.mark.parametrize("turned", [False, True])
def test_printed_lines_are_removed_and_the_strokes_stay_whole(turned):
    page = 255 - ring()
    lined = page.copy()
    lined[16::32] = np.maximum(lined[16::32], 140)
    if turned:
        page, lined = page.T, lined.T
    assert abs(without_rulings(lined) - page.astype(int)).mean() < 3


@pytest.mark.parametrize("turned", [False, True])
def test_a_long_straight_stroke_that_ends_within_the_picture_is_not_a_printed_line(turned):
    page = 255 - ring()
    page[60:62, 10:110] = 235
    page = page.T if turned else page
    assert np.array_equal(without_rulings(page), page)


def test_strokes_that_are_thinner_than_a_pixel_are_white_in_mnists_form():
    y, x = np.mgrid[0:800, 0:640]
    thin = np.uint8(255 * (abs(np.hypot((x - 320) / 0.7, y - 400) - 350) < 5))
    assert to_mnist(thin).max() == 255


def trust_in(gray: np.ndarray) -> float:
    """Of the largest thing on a page that is darker than its median."""
    darkness = np.uint8(np.maximum(np.median(gray) - gray.astype(int), 0))
    ink = find_ink(darkness, gray)
    digits = find_digits(ink, np.arange(len(ink.boxes)), gap=0)
    return trust(ink, max(digits, key=lambda digit: int(digit.cover.sum())))


def test_strokes_are_trusted_more_than_shadows():
    x = np.arange(160) + np.zeros((200, 1))
    edge_at_one_side = np.uint8(np.where(x > 120, 90, 240))
    soft_edge = np.uint8(240 - 150 / (1 + np.exp((100 - x) / 15)))
    assert trust_in(ring()) == 1
    assert trust_in(edge_at_one_side) < 0.9
    assert trust_in(soft_edge) < 0.5


def test_thin_strokes_are_trusted_like_thick_ones():
    y, x = np.mgrid[0:800, 0:640]
    thin = np.where(abs(np.hypot((x - 320) / 0.7, y - 400) - 350) < 2, 120, 200)
    assert trust_in(np.uint8(thin)) == 1


def test_digits_that_are_a_small_part_of_the_ink_are_believed_less():
    page = np.full((200, 160), 250, np.uint8)
    page[20:60, 20:30] = page[80:180, 40:140] = 20
    ink = drawing(page, 250)
    small, large = sorted(find_digits(ink, all_pieces(ink), gap=0), key=lambda digit: digit.box[2])
    assert kept_share([small], ink.areas) < 0.2
    assert kept_share([large], ink.areas) == kept_share([small, large], ink.areas) == 1


def arbitrary_pictures() -> list[np.ndarray]:
    """A short dash, single pixels, noise and dashes of many shapes."""
    rng = np.random.default_rng(0)
    dash = np.full((60, 100), 255, np.uint8)
    dash[10:12, 20:26] = 0
    pictures = [dash]
    for _ in range(150):
        height, width = rng.integers(1, rng.choice([4, 40, 400], 2) + 1)
        page = np.full((height, width), rng.integers(256), np.uint8)
        for _ in range(rng.integers(6)):
            y, x = rng.integers(height), rng.integers(width)
            down, right = rng.integers(1, rng.choice([2, 8, 200], 2) + 1)
            page[y : y + down, x : x + right] = rng.integers(256)
        if rng.random() < 0.1:
            page = rng.integers(0, 256, page.shape, dtype=np.uint8)
        pictures.append(page)
    return pictures


@pytest.mark.parametrize("several", [False, True])
def test_a_picture_with_visible_contrast_is_never_refused(several):
    for picture in arbitrary_pictures():
        if np.ptp(picture) > 10:
            digits = read(picture, classify, several).digits
            assert 1 <= len(digits) <= MAX_DIGITS
            assert all(digit.shape == (SIDE, SIDE) for digit in digits)
        else:
            with suppress(ImageError):
                read(picture, classify, several)


def test_a_picture_with_many_strokes_gives_a_limited_number_of_digits():
    page = np.full((200, 1020), 255, np.uint8)
    page[20:180, 10:1010:10] = 0
    assert len(read(page, classify, several=True).digits) == MAX_DIGITS
