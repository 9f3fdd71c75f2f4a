"""From gray to ink: how dark each pixel is beside its background, and which pixels are connected.

ink = drawing(gray, paper)      ink = find_ink(darkening(light), light)
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from vision.mnist_form import with_margin
from vision.pieces import label_pieces

# The longer side in pixels of the picture that is read; a larger one is reduced to it.
WORK_SIDE = 256
# Levels that differ by at most this look the same.
VISIBLE = 10
# The window of the background estimate as a share of the longer side; wider than any pen.
BACKGROUND_WINDOW = 0.35
# A printed line is at most this thick (a share of the longer side), and visible outside strokes on
# this share of its way across the picture, the first and the last quarter included. Its slope is at
# most 11 degrees.
THICKNESS, COVERED, STEEPEST = 0.025, 0.4, 0.2


class Ink(NamedTuple):
    """Ink and its connected pieces, with a margin of one pixel around the picture.

    cover is uint8 [h, w]: 0 is paper, 128 the outline of a stroke, 255 full ink. light is the gray
    picture that it was found on, uint8 [h, w], turned so that ink is darker than paper, or None if
    its background is plain. labels, boxes and areas are those of label_pieces. The upper left
    corner is at (x, y) of the picture that was sent; a pixel is scale pixels of it wide.
    """

    cover: np.ndarray
    light: np.ndarray | None
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    x: float
    y: float
    scale: float


def find_ink(darkness: np.ndarray, light: np.ndarray | None = None, scale: float = 1) -> Ink:
    """Return the ink of a picture from the darkness of its pixels, both uint8 [h, w]."""
    cover = with_margin(outlined(darkness))
    light = None if light is None else np.pad(light, 1, mode="edge")
    return Ink(cover, light, *label_pieces(cover >= 128), -scale, -scale, scale)


def drawing(gray: np.ndarray, paper: int) -> Ink:
    """Return the ink on a plain background of the given level."""
    if paper - int(gray.min()) < int(gray.max()) - paper:
        gray, paper = 255 - gray, 255 - paper
    drawn = gray < paper - VISIBLE
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = -(-max(box.shape) // WORK_SIDE)
    # So that nothing lies along the border: what is outside is paper.
    light = with_margin(np.asarray(Image.fromarray(box).reduce(factor)), paper)
    darkness = np.maximum(paper - light.astype(np.int16), 0).astype(np.uint8)
    ink = find_ink(darkness, scale=factor)
    return ink._replace(x=columns[0] - 2 * factor, y=rows[0] - 2 * factor)


def darkening(light: np.ndarray) -> np.ndarray:
    """Return how much darker than its background each pixel is: uint8 [h, w], 255 is black.

    The background is the morphological closing with a window wider than a stroke: Gonzalez and
    Woods, Digital Image Processing, 3rd ed., section 9.6.3.
    """
    window = round(max(light.shape) * BACKGROUND_WINDOW / 2) * 2 + 1
    ground = slide(slide(light, window, np.maximum), window, np.minimum).astype(np.float32)
    # On a background that is nearly black, noise would be divided by next to nothing.
    return (np.clip((ground - light) / np.maximum(ground, 32), 0, 1) * 255).astype(np.uint8)


def outlined(cover: np.ndarray) -> np.ndarray:
    """Map levels so that Otsu's threshold becomes 128, the outline, and strokes become 255."""
    counts = np.bincount(cover.ravel(), minlength=256)
    threshold = otsu_threshold(counts)
    above = counts[threshold + 1 :].cumsum()
    full = max(threshold * 1.1, threshold + 1 + np.searchsorted(above, 0.6 * above[-1]))
    levels = [max(2 * threshold - full, 0), threshold, full]
    return np.interp(np.arange(256), levels, [0, 128, 255]).astype(np.uint8).take(cover)


def slide(picture: np.ndarray, window: int, extreme: np.ufunc) -> np.ndarray:
    """Return the maximum or minimum over a square window, with the edge repeated."""
    for _ in range(2):
        wide = np.pad(picture, [(window // 2, window // 2), (0, 0)], mode="edge")
        reach = 1
        while reach < window:
            hop = min(reach, window - reach)
            wide = extreme(wide[:-hop], wide[hop:])
            reach += hop
        picture = wide.T
    return picture


def otsu_threshold(counts: np.ndarray) -> int:
    """Return the level that best splits a histogram in two (Otsu 1979, IEEE Trans. SMC 9(1))."""
    below = counts.cumsum()
    moment = (counts * np.arange(256)).cumsum()
    product = np.maximum(below * (below[-1] - below), 1).astype(float)
    between = (moment * below[-1] - moment[-1] * below).astype(float) ** 2 / product
    # Between two classes without levels in between, all thresholds are equally good.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return int(best[len(best) // 2])


def without_rulings(darkness: np.ndarray) -> np.ndarray:
    """Clear the printed lines of lined and squared paper in uint8 [h, w].

    A line is removed run by run across it, as staff lines are in optical music recognition
    (Dalitz et al. 2008, IEEE Trans. PAMI 30(5), 753-766), so strokes that cross it stay whole.
    """
    mask = darkness > otsu_threshold(np.bincount(darkness.ravel(), minlength=256))
    return darkness * ~(find_rulings(mask) | find_rulings(mask.T).T)


def find_rulings(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of thin lines from the left to the right side, tilted or not."""
    height, width = mask.shape
    thickest = max(2, round(max(mask.shape) * THICKNESS))
    # Ink that is not part of a higher run of pixels: a morphological opening.
    high = np.pad(mask, [(thickest, thickest), (0, 0)])
    for combine in (np.logical_and, np.logical_or):
        for _ in range(thickest):
            high = combine(high[:-1], high[1:])
    thin = mask & ~high
    # Project the ink along each slope: along a line's own, the profile has the sharpest peaks.
    lift = round(STEEPEST * width / 2) + 2
    y, x = np.nonzero(thin)
    some = x % 4 == 0

    def falls(slope: float) -> np.ndarray:
        return (lift + 0.5 - slope * (np.arange(width) - width / 2)).astype(int)

    slope = max(
        np.linspace(-STEEPEST, STEEPEST, 2 * (lift - 2) + 1),
        key=lambda slope: (np.bincount(y[some] + falls(slope)[x[some]]) ** 2).sum(),
    )
    rows, every = y + falls(slope)[x], np.arange(height + 2 * lift)
    # The way of each line across the picture, and how much of it is passed at a pixel.
    first, last = (
        np.searchsorted(np.sort(falls(slope)), every - below, side="right") for below in (height, 0)
    )
    way = np.maximum(last - first, 1)
    passed = ((x if slope < 0 else width - 1 - x) - first[rows]) / way[rows]
    profile = np.zeros((len(every), width), bool)
    profile[rows, x] = True

    def thicker(hits: np.ndarray) -> np.ndarray:
        return hits | np.roll(hits, 1, axis=0) | np.roll(hits, -1, axis=0)

    lined = thicker(profile).sum(axis=1) >= COVERED * way
    # A stroke of a digit may be as long as a line, but does not reach both ends of its way.
    for near_end in (passed < 1 / 4, passed >= 3 / 4):
        lined &= thicker(np.bincount(rows[near_end], minlength=len(every)) > 0)
    rulings = np.zeros_like(mask)
    rulings[y, x] = lined[rows]
    return rulings
