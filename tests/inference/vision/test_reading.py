"""The network chooses between the readings of a picture: every kind of picture, and no digit.

Ten digits of the font DejaVu Sans stand for the network (template_classifier.py), so the answers
are the same on every machine. bench_reading.py measures the same kinds with a trained model.
"""

from contextlib import suppress

import numpy as np
import pytest
from gallery import scenes_found, scenes_plain, scenes_things
from gallery.papers import encode, paint
from gallery.scenes_empty import EMPTY
from gallery.sources import Glyph
from PIL import Image, ImageDraw
from template_classifier import classify, glyphs
from vision import reading
from vision.digits import all_pieces
from vision.gray import decode
from vision.image import ImageError, open_image
from vision.ink import find_ink
from vision.reading import SURE, Reading, read

SCENES = scenes_plain.SCENES | scenes_found.SCENES | scenes_things.SCENES
# How many of the ten digits are read, where it is not all of them. Unlike a trained model, ten
# digits of a font do not know what stands beside digits.
HARD = {"sudoku cell": 9, "underlined": 4, "full stop or comma": 7, "meter wheel": 4}
HARD |= {"outlined": 8, "turned": 9}
*DIGITS, LETTER = glyphs()


def read_upload(upload: bytes, several: bool = False) -> Reading:
    return read(decode(open_image(upload)).gray, classify, several)


def answer(upload: bytes) -> tuple[str, float]:
    probabilities = read_upload(upload).probabilities[0]
    return str(probabilities.argmax()), probabilities.max()


def on_a_page(glyph: Glyph, height: int = 80, ink: float = 20, paper: float = 240) -> np.ndarray:
    """A glyph on plain paper: uint8 [200, 160]."""
    cover = glyph.draw(height)
    page = np.zeros((200, 160), np.float32)
    page[60 : 60 + cover.shape[0], 50 : 50 + cover.shape[1]] = cover
    return np.uint8(paint(page, ink, paper)[..., 0])


@pytest.mark.parametrize("name", SCENES)
def test_a_digit_is_read_in_every_scene(name):
    rng = np.random.default_rng(0)
    uploads = [SCENES[name](digit, rng) for digit in DIGITS]
    answers = [
        (answer(upload), digit) for upload, digit in zip(uploads, DIGITS, strict=True) if upload
    ]
    right = sum(prediction == digit.character for (prediction, _), digit in answers)
    assert right >= HARD.get(name, len(answers))
    assert not any(
        confidence > SURE and prediction != digit.character
        for (prediction, confidence), digit in answers
    )


def test_a_digit_in_a_circle_is_read_without_the_circle():
    y, x = np.mgrid[0:200, 0:160] - np.array([100, 76])[:, None, None]
    circled = np.where(abs(np.hypot(x, y) - 72) < 3, 20, on_a_page(DIGITS[6]))
    probabilities = read(np.uint8(circled), classify).probabilities[0]
    assert probabilities.argmax() == 6
    assert probabilities.max() > SURE


@pytest.mark.parametrize(("digit", "size"), [(7, 8), (8, 10)])
def test_the_squares_of_a_digit_of_few_enlarged_pixels_are_not_taken_for_its_shape(digit, size):
    cover = np.pad(DIGITS[digit].draw(size), 1)
    page = np.uint8(255 - 255 * np.kron(cover, np.ones((16, 16))))
    probabilities = read(page, classify).probabilities[0]
    assert probabilities.argmax() == digit
    assert probabilities.max() > SURE


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_page_is_refused_or_the_answer_is_unsure(name):
    rng = np.random.default_rng(0)
    for upload in [EMPTY[name](rng) for _ in range(8)]:
        with suppress(ImageError):
            assert answer(upload)[1] < SURE


@pytest.mark.parametrize("scene", ["plain", "cut out", "cropped", "sudoku cell", "neon"])
def test_a_letter_is_answered_unsurely(scene):
    rng = np.random.default_rng(0)
    assert all(answer(SCENES[scene](LETTER, rng))[1] < SURE for _ in range(5))


@pytest.mark.parametrize("digit", DIGITS, ids=lambda digit: digit.character)
def test_the_polarity_of_a_picture_makes_no_difference(digit):
    page = on_a_page(digit)
    straight, inverse = read(page, classify), read(255 - page, classify)
    assert straight.probabilities[0].argmax() == int(digit.character)
    assert np.array_equal(straight.digits[0], inverse.digits[0])


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_is_refused(level):
    for noise in (0, 10):
        page = np.full((100, 80), level, np.uint8)
        page[::2] = abs(level - noise)
        with pytest.raises(ImageError, match="Nothing is drawn"):
            read(page, classify)


def test_a_page_with_only_small_differences_on_both_sides_of_its_border_is_answered_unsurely():
    page = np.full((100, 80), 106, np.uint8)
    page[20:80, 20:40], page[20:80, 40:60] = 100, 111
    assert read(page, classify).probabilities.max() < SURE


def test_what_the_gray_picture_does_not_support_is_ten_equal_probabilities(monkeypatch):
    monkeypatch.setattr(reading, "trust", lambda ink, digit: 0.0)
    assert read(on_a_page(DIGITS[3]), classify).probabilities == pytest.approx(0.1)


def test_the_first_reading_that_the_network_is_sure_of_is_accepted(monkeypatch):
    """And a later one only if no earlier one is sure, even if it is surer still."""
    page, asked = on_a_page(DIGITS[3]), []
    ink = find_ink(255 - page, page)

    def answers(*confidences: float) -> Reading:
        asked.clear()
        monkeypatch.setattr(reading, "readings", lambda *_: [(ink, all_pieces)] * len(confidences))

        def answer_in_turn(images: np.ndarray) -> np.ndarray:
            rest = np.full(10, (1 - confidences[len(asked)]) / 9)
            rest[len(asked)] = confidences[len(asked)]
            asked.append(images)
            return rest[None]

        return read(page, answer_in_turn)

    assert answers(0.5, 0.95, 0.99).probabilities.argmax() == 1
    assert len(asked) == 2
    assert answers(0.5, 0.8, 0.7).probabilities.argmax() == 1
    assert len(asked) == 3


def test_the_long_strokes_of_a_drawn_4_are_not_taken_for_printed_lines():
    page = Image.new("L", (28, 28), 255)
    pen = ImageDraw.Draw(page)
    pen.line([(16, 4), (4, 14), (25, 14)])
    pen.line([(14, 4), (11, 23)])
    seen = []
    with suppress(ImageError):
        read(np.asarray(page), lambda images: seen.extend(images) or np.full((1, 10), 0.1))
    assert all((image > 127).sum(axis=1).max() > 10 for image in seen), "the bar is in each"


def test_several_digits_are_found_left_to_right_with_boxes_in_pixels_of_the_picture():
    page = np.hstack([on_a_page(DIGITS[digit]) for digit in (4, 0, 7)])
    found = read_upload(encode(page), several=True)
    assert found.probabilities.argmax(axis=1).tolist() == [4, 0, 7]
    assert not found.more
    for index, (x, y, width, height) in enumerate(found.boxes):
        assert (x, y) == pytest.approx((50 + 160 * index, 60), abs=3)
        assert (width, height) == pytest.approx(
            DIGITS[(4, 0, 7)[index]].draw(80).shape[::-1], abs=4
        )


def test_a_straight_1_at_the_edge_of_the_drawn_area_is_not_taken_for_the_border():
    page = np.full((600, 2400), 255, np.uint8)
    page[100:500, 270:330] = 0
    page[100:500, 1400:1640] = (
        255 - np.kron(DIGITS[0].draw(40) * 255, np.ones((10, 10)))[:400, :240]
    )
    assert len(read(page, classify, several=True).digits) == 2


def test_of_two_digits_the_larger_is_read_and_the_other_is_mentioned():
    page = np.hstack([on_a_page(DIGITS[6]), on_a_page(DIGITS[1], height=40)])
    found = read(page, classify)
    assert found.probabilities.argmax() == 6
    assert found.more
    assert not read(page[:, :160], classify).more


def test_several_digits_on_ruled_paper_are_found():
    page = np.hstack([on_a_page(DIGITS[digit]) for digit in (2, 9)])
    page[10::32] = page[11::32] = 150
    assert read(page, classify, several=True).probabilities.argmax(axis=1).tolist() == [2, 9]


def test_of_several_digits_that_reach_the_border_none_is_left_out():
    page = np.hstack([on_a_page(DIGITS[digit])[:, 40:120] for digit in (2, 5, 7, 4)])[60:140]
    page[:3, 240:] = page[-3:, 240:] = 240  # The last one alone does not reach it.
    assert read(page, classify, several=True).probabilities.argmax(axis=1).tolist() == [2, 5, 7, 4]


def test_digits_that_touch_are_cut_where_the_network_is_surer_of_the_parts():
    left, right = (on_a_page(DIGITS[digit]) for digit in (0, 6))
    page = np.hstack([left[:, :110], right[:, 48:]])
    joined = page.copy()
    joined[96:104, 95:125] = 20
    for picture in (page, joined):
        found = read(picture, classify, several=True)
        assert found.probabilities.argmax(axis=1).tolist() == [0, 6]
