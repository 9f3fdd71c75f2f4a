"""The digits and non-digits that our own code draws."""

from functools import partial

import numpy as np
import pytest
from drawing import added_digits, non_digits, printed, strokes, synthetic

SOURCES = {
    "digits": synthetic.draw_digits,
    "added digits": added_digits.draw_added_digits,
    "non-digits": non_digits.draw_non_digits,
    "unseen non-digits": partial(non_digits.draw_non_digits, held_out=True),
}


@pytest.fixture(scope="module")
def digits():
    return synthetic.draw_digits(1000, seed=1)


@pytest.mark.parametrize("name", SOURCES)
def test_a_seed_decides_what_is_drawn_and_any_number_can_be_drawn(name):
    def draw(count, seed):
        drawn = SOURCES[name](count, seed=seed)
        images, *labels = drawn if isinstance(drawn, tuple) else (drawn,)
        assert (images.shape, images.dtype) == ((count, 28, 28), np.uint8)
        assert all((each.shape, each.dtype) == ((count,), np.int64) for each in labels)
        return b"".join(part.tobytes() for part in (images, *labels))

    assert draw(203, 1) == draw(203, 1)
    assert draw(203, 1) != draw(203, 2)
    for count in (0, 1, 7):
        draw(count, 3)


def test_every_digit_is_drawn_as_often_as_any_other_in_a_mixed_order_and_never_twice(digits):
    images, labels = digits
    assert np.bincount(labels).tolist() == [100] * 10
    assert len(set(labels[:100].tolist())) == 10
    assert (np.diff(labels) == 1).mean() < 0.5
    assert len(np.unique(images.reshape(1000, -1), axis=0)) == 1000


def test_digits_are_in_mnists_form_with_soft_edges(digits):
    images = digits[0]
    inked = images > 96
    longer = np.maximum(
        [np.ptp(np.flatnonzero(rows)) + 1 for rows in inked.any(axis=2)],
        [np.ptp(np.flatnonzero(columns)) + 1 for columns in inked.any(axis=1)],
    )
    assert longer.max() <= 22
    assert 19 <= np.median(longer) <= 20
    assert (longer >= 17).mean() > 0.97
    ink = images.astype(float)
    for axis in (1, 2):
        centre = ink.sum(axis=axis) @ (np.arange(28) + 0.5) / ink.sum(axis=(1, 2))
        assert np.abs(centre - 14).max() <= 0.5
    assert np.median(images) == 0
    assert (images.max(axis=(1, 2)) > 200).all()
    gray = (images > 0) & (images < 255)
    assert 0.2 < gray.sum() / (images > 0).sum() < 0.8


def test_every_template_draws_a_connected_line():
    for template in [t for templates in synthetic.DIGITS.values() for t in templates]:
        _, starts, ends = strokes.stroke_matrices(template)
        breaks = np.abs(ends[:-1] - starts[1:]).max(axis=1) > 1e-5
        assert breaks.sum() == template.count("|"), template
        assert np.allclose(starts.sum(axis=1), 1, atol=1e-5), template


# Wrong labels would give 10 %, or 28 % for the most frequent of the added digits.
@pytest.mark.parametrize(("name", "least"), [("digits", 0.6), ("added digits", 0.4)])
def test_the_nearest_mean_image_classifies_many_digits(name, least):
    images, labels = (part.astype(np.float32) for part in SOURCES[name](1000, seed=1))
    means = np.stack([images[:500][labels[:500] == digit].mean(axis=0) for digit in range(10)])
    distance = ((images[500:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == labels[500:]).mean() > least


def typical_picture(template):
    """The mean of a template's unchanged strokes drawn with pens of several widths: [28, 28]."""
    points = np.repeat(strokes.stroke_matrices(template)[0][None], 9, axis=0)
    return strokes.render(points, template, np.random.default_rng(0)).astype(float).mean(axis=0)


def similarity(one, other):
    """The largest cosine similarity of two pictures, moved by up to two pixels."""
    shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    norm = np.linalg.norm(one) * np.linalg.norm(other)
    return max((one * np.roll(other, shift, axis=(0, 1))).sum() for shift in shifts) / norm


def test_no_sign_looks_the_same_as_one_that_is_trained_on():
    trained_on = [typical_picture(template) for template in non_digits.TRAINING_SIGNS]
    moved_letter_h = typical_picture("7,3 7,97 | 69,3 69,97 | 7,50 69,50")
    assert max(similarity(moved_letter_h, picture) for picture in trained_on) > 0.95
    for template in non_digits.RESEMBLING_SIGNS + non_digits.UNSEEN_SIGNS:
        unseen = typical_picture(template)
        # 0.88 was measured for the most similar pair, division and cross.
        assert max(similarity(unseen, picture) for picture in trained_on) < 0.93, template


def test_every_unseen_kind_is_drawn_and_none_of_them_is_a_training_image():
    kinds = non_digits.draw_unseen_kinds(50, seed=1)
    assert len(kinds) == 3
    training = {image.tobytes() for image in non_digits.draw_non_digits(2000, seed=1)}
    for images in kinds.values():
        assert (images.shape, images.dtype) == ((50, 28, 28), np.uint8)
        assert not training & {image.tobytes() for image in images}


def test_ones_are_added_most_often_and_a_blank_picture_is_among_the_non_digits():
    counts = np.bincount(added_digits.draw_added_digits(1000, seed=1)[1], minlength=10)
    assert counts.min() > 50
    assert counts.argmax() == 1
    images = non_digits.draw_non_digits(400, seed=1)
    assert (np.ptp(images, axis=(1, 2)) == 0).any()


def test_a_picture_of_any_size_is_brought_to_mnists_form():
    pictures = np.zeros((2, 90, 70), np.uint8)
    pictures[0, 10:70, 20:50] = 255
    images = strokes.to_mnist(pictures)
    assert images[0, 4:24, 9:19].min() == 255
    assert images[0].sum() == 20 * 10 * 255
    assert not images[1].any()


def test_worn_digits_resemble_the_digits_that_they_were(digits):
    images = digits[0][:100]
    for wear_out in (added_digits.coarsen, added_digits.crop, added_digits.add_specks):
        worn = wear_out(images, np.random.default_rng(0))
        likeness = map(similarity, images.astype(float), worn.astype(float))
        assert np.median(list(likeness)) > 0.75, wear_out
        assert not np.array_equal(images, worn), wear_out


def test_a_ring_leaves_room_for_the_digit(digits):
    images = digits[0][:100]
    rings = added_digits.add_ring(np.zeros_like(images), np.random.default_rng(0))
    assert not rings[:, 10:18, 10:18].any()
    assert (rings.max(axis=(1, 2)) > 90).all()
    ringed = added_digits.add_ring(images, np.random.default_rng(0))
    assert (ringed[:, 10:18, 10:18].max(axis=(1, 2)) > 90).all()


def test_some_print_is_an_outline(monkeypatch):
    def stem_of_a_bold_1(share):
        monkeypatch.setattr(printed, "HOLLOW", share)
        sign = printed.draw_sign("1", "DejaVuSans-Bold", np.random.default_rng(0))
        return sign[printed.CANVAS // 2]

    solid, hollow = stem_of_a_bold_1(0), stem_of_a_bold_1(1)
    inside = np.flatnonzero(solid > 200).mean().round().astype(int)
    assert solid[inside] > 200
    assert hollow[inside] < 50
    assert hollow[:inside].max() > 200
    assert hollow[inside:].max() > 200


def test_every_printed_sign_is_in_its_fonts():
    latin = "0123456789" + printed.LATIN
    for signs, fonts in ((latin, printed.FONTS), (printed.OTHER_SIGNS, printed.SIGN_FONTS)):
        for font in map(printed.load_font, fonts):
            missing = bytes(font.getmask("\uffff"))
            assert not [sign for sign in signs if bytes(font.getmask(sign)) == missing], font.path
