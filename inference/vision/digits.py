"""From ink to digits: choose pieces of ink, and group them into digits.

digits = find_digits(ink, inner_pieces(ink), gap)      confidence *= trust(ink, digits[0])
"""

from typing import NamedTuple

import numpy as np
from vision.ink import Ink
from vision.mnist_form import BOX, brightening, outermost, resize
from vision.pieces import dilate

# The drop in gray levels between neighbouring pixels of the 20x20 box at which an outline is that
# of ink: one in 200 digits of other origin has less, and 96 % of the empty pages that the network
# takes for a digit.
STEP = 24
# A reading that keeps at least this share of the ink may be sure: the inside of an outlined 6 is a
# good 0, and a lamp post in a landscape a good 1.
KEPT = 0.4
# Pieces shorter than this share of the longest one are specks.
SPECK = 0.12
# The most digits that are returned for a picture, the largest ones.
MAX_DIGITS = 64


class Digit(NamedTuple):
    """The ink of one digit, uint8 [h, w] with a margin of one pixel, and its box without it.

    box is (x, y, width, height) in pixels of the picture that was sent.
    """

    cover: np.ndarray
    box: tuple[float, float, float, float]


def find_digits(ink: Ink, kept: np.ndarray, gap: float) -> list[Digit]:
    """Group the pieces of ink with the given indices into digits, from left to right.

    Pieces belong together where the columns between them are fewer than gap times their height.
    """
    if not len(kept):
        return []
    lengths = piece_lengths(ink)
    kept = kept[lengths[kept] >= SPECK * lengths[kept].max()]
    groups = group_columns(ink.boxes, kept, gap)
    largest = sorted(groups, key=lambda group: -ink.areas[group].sum())[:MAX_DIGITS]
    digits = []
    for group in sorted(largest, key=lambda group: ink.boxes[group, 0].min()):
        left, top = ink.boxes[group, :2].min(axis=0) - 1
        right, bottom = ink.boxes[group, 2:].max(axis=0) + 1
        window = slice(top, bottom), slice(left, right)
        own = dilate(np.isin(ink.labels[window], group + 1))
        corner = ink.x + left * ink.scale, ink.y + top * ink.scale
        digits.append(crop(ink.cover[window] * own, corner, ink.scale))
    return digits


def piece_lengths(ink: Ink) -> np.ndarray:
    """Return the longer side of each piece."""
    return (ink.boxes[:, 2:] - ink.boxes[:, :2]).max(axis=1, initial=0)


def all_pieces(ink: Ink) -> np.ndarray:
    """Return the indices of all pieces."""
    return np.arange(len(ink.boxes))


def inner_pieces(ink: Ink) -> np.ndarray:
    """Return the indices of the pieces that do not lie along the border of the picture.

    Those are shadows, tables and frames.
    """
    along = np.bincount(outermost(ink.labels[1:-1, 1:-1]), minlength=len(ink.boxes) + 1)[1:]
    return np.flatnonzero(along < piece_lengths(ink) / 2)


def framed_pieces(ink: Ink) -> np.ndarray:
    """Return the indices of the pieces inside the box of the longest one."""
    if not len(ink.boxes):
        return np.arange(0)
    frame = ink.boxes[np.argmax(piece_lengths(ink))]
    inside = (ink.boxes[:, :2] > frame[:2]).all(axis=1) & (ink.boxes[:, 2:] < frame[2:]).all(axis=1)
    return np.flatnonzero(inside)


def crop(cover: np.ndarray, corner: tuple[float, float], scale: float) -> Digit:
    """Return the digit on a cover, uint8 [h, w], whose upper left corner is at (x, y)."""
    rows, columns = (np.flatnonzero((cover >= 128).any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = rows[[0, -1]] + (0, 1), columns[[0, -1]] + (0, 1)
    size = (right - left) * scale, (bottom - top) * scale
    box = (corner[0] + left * scale, corner[1] + top * scale, *size)
    return Digit(cover[top - 1 : bottom + 1, left - 1 : right + 1], box)


def kept_share(digits: list[Digit], areas: np.ndarray) -> float:
    """Return how far some digits are what is drawn, 0 to 1, given the areas of all pieces."""
    kept = sum(np.count_nonzero(digit.cover >= 128) for digit in digits)
    return min(1.0, kept / max(KEPT * areas.sum(), 1))


def trust(ink: Ink, digit: Digit) -> float:
    """Return how far the gray picture supports that a digit is ink, 0 to 1.

    A stroke is darker than the paper on both sides of it. A shadow has one edge, which is often
    soft, and the rest of its outline is where a reading has cut it. The measure is the mean drop
    from paper to ink along the outline, times the share of the outline where there is a drop. It
    is compared with STEP, or with as many times the noise where that is less than a level.
    """
    if ink.light is None:
        return 1.0
    height, width = digit.cover.shape
    margin = -(-2 * max(height, width) // BOX)
    left, top = (round((digit.box[i] - (ink.x, ink.y)[i]) / ink.scale) - margin for i in (0, 1))
    rows, columns = (
        np.arange(start, start + side - 2 + 2 * margin).clip(1, limit - 2)
        for start, side, limit in zip((top, left), digit.cover.shape, ink.light.shape, strict=True)
    )
    light = ink.light[np.ix_(rows, columns)]
    cover = np.pad(digit.cover[1:-1, 1:-1], margin)
    cover, light = (resize(part, BOX / max(height, width)).astype(float) for part in (cover, light))
    light *= brightening(cover)
    steps = np.concatenate([np.diff(cover, axis=axis).ravel() for axis in (0, 1)])
    drops = -np.concatenate([np.diff(light, axis=axis).ravel() for axis in (0, 1)]) * np.sign(steps)
    flat = abs(steps) < STEP
    noise = np.sqrt((drops[flat] ** 2).mean()) if flat.any() else 1
    drops, weights = np.maximum(drops, 0), abs(steps)
    # (sum wd)^2 / (sum w * sum wd^2) is the share of equal drops where the others are zero.
    steepness = (weights @ drops) ** 3 / max(weights.sum() ** 2 * (weights @ drops**2), 1e-9)
    return min(1.0, steepness / max(STEP * min(1, noise), 1e-9))


def group_columns(boxes: np.ndarray, kept: np.ndarray, gap: float) -> list[np.ndarray]:
    """Group pieces that stand above one another, or nearly so: they are one digit."""
    tallest = boxes[kept, 3].max() - boxes[kept, 1].min()
    groups: list[list[int]] = []
    right = -np.inf
    for piece in sorted(kept, key=lambda piece: boxes[piece, 0]):
        if boxes[piece, 0] - right < gap * tallest:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        right = max(right, boxes[piece, 2])
    return [np.array(group) for group in groups]
