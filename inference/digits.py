"""From ink to digits: group the connected pieces of ink into digits.

digits = find_digits(ink, gap)      digits = split_touching(digits, confidence)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from image import ImageError
from ink import EMPTY, Ink
from mnist_form import outermost, with_margin

# A piece along the picture's border for this share of its length is a shadow, a table or a frame.
EDGE_SHARE = 0.5
# Pieces smaller than these shares of the largest's area and length are specks, and so is what is
# shorter than this share of the picture's side.
SPECK_AREA, SPECK_LENGTH, SMALLEST = 0.03, 0.12, 0.03
# The most digits that are returned for a picture, the largest ones.
MAX_DIGITS = 64
# A piece may be several digits that touch if its width is at least NARROWEST_PAIR of its height. It
# is cut into parts of about TYPICAL_WIDTH of their height, at most MOST_PARTS of them, each part of
# at least SHORTEST_PART of the height of the piece.
NARROWEST_PAIR, TYPICAL_WIDTH, MOST_PARTS, SHORTEST_PART = 0.7, 0.75, 8, 0.4


class Digit(NamedTuple):
    """The ink of one digit, uint8 [h, w] with a margin of one pixel, and its box without it.

    box is (x, y, width, height) in pixels of the gray picture.
    """

    cover: np.ndarray
    box: tuple[float, float, float, float]


def find_digits(ink: Ink, gap: float) -> list[Digit]:
    """Group pieces of ink into digits, from left to right. Raises ImageError if there are none.

    Pieces belong together where the columns between them are fewer than gap times their height.
    """
    labels, boxes = label_pieces(ink.cover >= 128)
    areas = np.bincount(labels.ravel(), minlength=len(boxes) + 1)[1:]
    groups = group_columns(boxes, select_pieces(labels, boxes, areas), gap)
    largest = sorted(groups, key=lambda group: -areas[group].sum())[:MAX_DIGITS]
    digits = []
    for group in sorted(largest, key=lambda group: boxes[group, 0].min()):
        (left, top), (right, bottom) = boxes[group, :2].min(axis=0), boxes[group, 2:].max(axis=0)
        window = slice(top - 1, bottom + 1), slice(left - 1, right + 1)
        own = dilate(np.isin(labels[window], group + 1))
        corner = ink.x + (left - 1) * ink.scale, ink.y + (top - 1) * ink.scale
        digits.append(crop(ink.cover[window] * own, corner, ink.scale))
    return digits


def crop(cover: np.ndarray, corner: tuple[float, float], scale: float) -> Digit:
    """Return the digit on a cover, uint8 [h, w], whose upper left corner is at (x, y)."""
    rows, columns = (np.flatnonzero((cover >= 128).any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = rows[[0, -1]] + (0, 1), columns[[0, -1]] + (0, 1)
    size = (right - left) * scale, (bottom - top) * scale
    box = (corner[0] + left * scale, corner[1] + top * scale, *size)
    return Digit(cover[top - 1 : bottom + 1, left - 1 : right + 1], box)


def select_pieces(labels: np.ndarray, boxes: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return the indices of the pieces that are ink of a digit. Raises ImageError if none is."""
    lengths = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    border = outermost(labels[1:-1, 1:-1])
    kept = np.bincount(border, minlength=len(boxes) + 1)[1:] < EDGE_SHARE * lengths
    if kept.any():
        kept &= areas >= SPECK_AREA * areas[kept].max()
        kept &= lengths >= max(SPECK_LENGTH * lengths[kept].max(), SMALLEST * max(labels.shape))
    if not kept.any():
        raise ImageError("nothing_drawn", EMPTY)
    return np.flatnonzero(kept)


def group_columns(boxes: np.ndarray, kept: np.ndarray, gap: float) -> list[np.ndarray]:
    """Group pieces that stand above one another, or nearly so: they are one digit."""
    tallest = (boxes[kept, 3] - boxes[kept, 1]).max()
    groups: list[list[int]] = []
    right = -np.inf
    for piece in sorted(kept, key=lambda piece: boxes[piece, 0]):
        if boxes[piece, 0] - right < gap * tallest:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        right = max(right, boxes[piece, 2])
    return [np.array(group) for group in groups]


def split_touching(
    digits: list[Digit], confidence: Callable[[list[Digit]], np.ndarray]
) -> list[Digit]:
    """Cut digits that touch, where the model is more confident of every part than of the whole.

    confidence returns the model's largest probability for each of some digits.
    """
    parts = []
    for digit in digits:
        height, width = np.array(digit.cover.shape) - 2
        if width < NARROWEST_PAIR * height:
            parts.append(digit)
            continue
        usual = min(max(2, round(width / (TYPICAL_WIDTH * height))), MOST_PARTS)
        cuts = [([middle], 0.1) for middle in (0.4, 0.5, 0.6)]
        if usual > 2:
            cuts.append((np.arange(1, usual) / usual, 0.3 / usual))
        candidates = [[digit], *(cut(digit, *places) for places in cuts)]
        rows = iter(confidence([part for candidate in candidates for part in candidate]))
        scores = [min(next(rows) for _ in candidate) for candidate in candidates]
        parts += candidates[int(np.argmax(scores))]
    return parts[:MAX_DIGITS]


def cut(digit: Digit, middles: Sequence[float], reach: float) -> list[Digit]:
    """Cut a digit along seams within reach of the middles, which are shares of its width."""
    scale = digit.box[3] / (digit.cover.shape[0] - 2)
    seams = [cheapest_seam(digit.cover, middle, reach) for middle in middles]
    columns = np.arange(digit.cover.shape[1])
    side = sum((columns >= seam[:, None]).astype(int) for seam in seams)
    corner = digit.box[0] - scale, digit.box[1] - scale
    parts = []
    for number in range(len(seams) + 1):
        cover = digit.cover * (side == number)
        rows = np.flatnonzero((cover >= 128).any(axis=1))
        if not len(rows) or np.ptp(rows) < SHORTEST_PART * digit.cover.shape[0]:
            return [digit]
        parts.append(crop(cover, corner, scale))
    return parts


def cheapest_seam(cover: np.ndarray, middle: float, reach: float) -> np.ndarray:
    """Return the column of each row where the cheapest path from top to bottom passes."""
    width = cover.shape[1]
    low, high = int((middle - reach) * width), int((middle + reach) * width) + 1
    cost = cover[:, low:high] / 255 + 0.02
    total = np.pad(cost, [(0, 0), (1, 1)], constant_values=np.inf)
    for row in range(1, len(total)):
        above = total[row - 1]
        total[row, 1:-1] += np.minimum(np.minimum(above[:-2] + 0.01, above[2:] + 0.01), above[1:-1])
    seam = [int(total[-1].argmin())]
    for row in range(len(total) - 2, -1, -1):
        near = total[row, seam[-1] - 1 : seam[-1] + 2]
        seam.append(seam[-1] - 1 + int(near.argmin()))
    return np.array(seam[::-1]) - 1 + low


def label_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label the 8-connected pieces of a boolean [H, W] whose outermost pixels are False.

    Returns int [H, W], 0 for the background and 1 to N for the pieces, and their boxes, int [N, 4]
    as (left, top, right, bottom), right and bottom exclusive. Runs of pixels that touch in
    neighbouring rows take the lower label until none changes.
    """
    height, width = mask.shape
    flat = mask.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = change[0::2], change[1::2]
    first = np.searchsorted(ends, starts + width)
    last = np.searchsorted(starts, ends + width, side="right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = first[upper] + np.arange(len(upper)) - (counts.cumsum() - counts)[upper]
    parent = np.arange(len(starts))
    while (parent[upper] != parent[lower]).any():
        lowest = np.minimum(parent[upper], parent[lower])
        np.minimum.at(parent, parent[upper], lowest)
        np.minimum.at(parent, parent[lower], lowest)
        parent = parent[parent]
    roots, piece = np.unique(parent, return_inverse=True)
    boxes = np.tile([width, height, 0, 0], (len(roots), 1))
    np.minimum.at(boxes[:, 0], piece, starts % width)
    np.minimum.at(boxes[:, 1], piece, starts // width)
    np.maximum.at(boxes[:, 2], piece, ends - starts + starts % width)
    np.maximum.at(boxes[:, 3], piece, starts // width + 1)
    labels = np.zeros(mask.size, int)
    labels[mask.ravel()] = np.repeat(piece + 1, ends - starts)
    return labels.reshape(mask.shape), boxes


def dilate(mask: np.ndarray) -> np.ndarray:
    """Add the neighbours of each true pixel, diagonal ones included."""
    padded = with_margin(mask)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
