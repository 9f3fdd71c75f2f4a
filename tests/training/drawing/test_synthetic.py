"""The digits and non-digits that our own code draws."""

import numpy as np
import pytest
from drawing import added_digits, non_digits, printed, strokes, synthetic


@pytest.fixture(scope="module")
def digits():
    return synthetic.draw_digits(1000, seed=1)


def test_digits_have_the_shapes_and_types_of_mnist(digits):
    images, labels = digits
    assert (images.shape, images.dtype) == ((1000, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((1000,), np.int64)


def test_every_digit_is_drawn_as_often_as_any_other(digits):
    assert np.bincount(digits[1]).tolist() == [100] * 10


def test_the_order_of_the_digits_is_mixed(digits):
    assert len(set(digits[1][:100].tolist())) == 10
    assert (np.diff(digits[1]) == 1).mean() < 0.5


def test_the_same_seed_draws_the_same_digits(digits):
    images, labels = synthetic.draw_digits(1000, seed=1)
    assert np.array_equal(images, digits[0])
    assert np.array_equal(labels, digits[1])


def test_another_seed_draws_other_digits(digits):
    images, _ = synthetic.draw_digits(1000, seed=2)
    assert not (images == digits[0]).all(axis=(1, 2)).any()


def test_no_two_digits_are_the_same_picture(digits):
    assert len(np.unique(digits[0].reshape(1000, -1), axis=0)) == 1000


@pytest.mark.parametrize("count", [0, 1, 7])
def test_fewer_than_ten_digits_can_be_drawn(count):
    images, labels = synthetic.draw_digits(count, seed=3)
    assert len(images) == len(labels) == count


def test_the_ink_fills_a_box_of_20_pixels(digits):
    inked = digits[0] > 96
    longer = np.maximum(
        [np.ptp(np.flatnonzero(rows)) + 1 for rows in inked.any(axis=2)],
        [np.ptp(np.flatnonzero(columns)) + 1 for columns in inked.any(axis=1)],
    )
    assert longer.max() <= 22
    assert 19 <= np.median(longer) <= 20
    assert (longer >= 17).mean() > 0.97


def test_the_centre_of_mass_lies_in_the_middle(digits):
    ink = digits[0].astype(float)
    places = np.arange(28) + 0.5
    mass = ink.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = ink.sum(axis=axis) @ places / mass
        assert np.abs(centre - 14).max() <= 0.5


def test_digits_are_white_on_black_with_soft_edges(digits):
    images = digits[0]
    assert np.median(images) == 0
    assert (images.max(axis=(1, 2)) > 200).all()
    grey = (images > 0) & (images < 255)
    assert 0.2 < grey.sum() / (images > 0).sum() < 0.8
    assert not images[:, [0, -1]].any(axis=(1, 2)).mean() > 0.02


def test_every_template_draws_a_connected_line():
    for template in [t for templates in synthetic.DIGITS.values() for t in templates]:
        _, starts, ends = strokes.stroke_matrices(template)
        breaks = np.abs(ends[:-1] - starts[1:]).max(axis=1) > 1e-5
        assert breaks.sum() == template.count("|"), template
        assert np.allclose(starts.sum(axis=1), 1, atol=1e-5), template


def test_the_nearest_mean_image_classifies_most_digits(digits):
    # 60 % is little, but far from the 10 % that wrong labels would give.
    images, labels = (part.astype(np.float32) for part in digits)
    means = np.stack([images[:500][labels[:500] == digit].mean(axis=0) for digit in range(10)])
    distance = ((images[500:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == labels[500:]).mean() > 0.6


@pytest.mark.parametrize("held_out", [False, True])
def test_the_same_seed_draws_the_same_non_digits(held_out):
    images = non_digits.draw_non_digits(203, seed=1, held_out=held_out)
    assert (images.shape, images.dtype) == ((203, 28, 28), np.uint8)
    assert np.array_equal(images, non_digits.draw_non_digits(203, seed=1, held_out=held_out))
    assert not np.array_equal(images, non_digits.draw_non_digits(203, seed=2, held_out=held_out))


def typical_picture(template):
    """The mean of a template's unchanged strokes drawn with pens of several widths: [28, 28]."""
    points = np.repeat(strokes.stroke_matrices(template)[0][None], 9, axis=0)
    return strokes.render(points, template, np.random.default_rng(0)).astype(float).mean(axis=0)


def similarity(one, other):
    """The largest cosine similarity of two pictures, moved by up to two pixels."""
    shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    norm = np.linalg.norm(one) * np.linalg.norm(other)
    return max((one * np.roll(other, shift, axis=(0, 1))).sum() for shift in shifts) / norm


def likeness(some, others):
    """The median similarity of uint8 [N, 28, 28] and their counterparts."""
    pairs = zip(some.astype(float), others.astype(float), strict=True)
    return np.median([similarity(*pair) for pair in pairs])


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


def test_a_blank_picture_is_among_the_non_digits():
    images = non_digits.draw_non_digits(400, seed=1)
    assert (np.ptp(images, axis=(1, 2)) == 0).any()


@pytest.fixture(scope="module")
def added():
    return added_digits.draw_added_digits(1000, seed=1)


def test_the_same_seed_draws_the_same_added_digits(added):
    images, labels = added_digits.draw_added_digits(1000, seed=1)
    assert (images.shape, images.dtype, labels.dtype) == ((1000, 28, 28), np.uint8, np.int64)
    assert np.array_equal(images, added[0])
    assert np.array_equal(labels, added[1])
    assert not np.array_equal(added_digits.draw_added_digits(1000, seed=2)[0], images)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_digits_and_non_digits_can_be_added(count):
    assert len(added_digits.draw_added_digits(count, seed=3)[0]) == count
    assert len(non_digits.draw_non_digits(count, seed=3)) == count


def test_every_digit_is_added_and_ones_most_often(added):
    counts = np.bincount(added[1], minlength=10)
    assert counts.min() > 50
    assert counts.argmax() == 1


def test_the_nearest_mean_image_classifies_many_added_digits(added):
    # Wrong labels would give 10 %, or 18 % for the most frequent digit.
    images, labels = (part.astype(np.float32) for part in added)
    means = np.stack([images[:500][labels[:500] == digit].mean(axis=0) for digit in range(10)])
    distance = ((images[500:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == labels[500:]).mean() > 0.4


def test_a_picture_of_any_size_is_brought_to_mnists_form():
    pictures = np.zeros((2, 90, 70), np.uint8)
    pictures[0, 10:70, 20:50] = 255
    images = strokes.to_mnist(pictures)
    assert images[0, 4:24, 9:19].min() == 255
    assert images[0].sum() == 20 * 10 * 255
    assert not images[1].any()


@pytest.mark.parametrize(
    "wear_out", [added_digits.coarsen, added_digits.crop, added_digits.add_specks]
)
def test_worn_digits_resemble_the_digits_that_they_were(digits, wear_out):
    images = digits[0][:100]
    worn = wear_out(images, np.random.default_rng(0))
    assert likeness(images, worn) > 0.75
    assert not np.array_equal(images, worn)


def test_every_printed_sign_is_in_its_fonts():
    for signs, fonts in (
        ("0123456789" + printed.LATIN, printed.FONTS),
        (printed.OTHER_SIGNS, printed.SIGN_FONTS),
    ):
        for font in map(printed.load_font, fonts):
            missing = bytes(font.getmask("\uffff"))
            assert not [sign for sign in signs if bytes(font.getmask(sign)) == missing], font.path
