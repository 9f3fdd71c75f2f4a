"""From gray to ink: find out how much ink covers each pixel of a gray picture.

ink = find_ink(gray)

A drawing on a plain background is cropped to its ink. Everything else (photographs, drawings that
touch the edge) is reduced to WORK_SIDE, freed of uneven light and of printed lines.
"""

from typing import NamedTuple

import numpy as np
from image import ImageError
from PIL import Image
from rulings import remove_rulings

# The longer side of the picture that photographs are read at, and the sides (width, height) that
# the ink of a drawing is reduced to, in pixels.
WORK_SIDE, DRAWING_SIZE = 256, (512, 128)
# The outermost pixels of a drawing on a plain background differ by at most this.
PLAIN = 6
# Ink must differ from its background by this many of 255 levels, and cover this share of the
# picture's longer side.
MIN_CONTRAST, SHORTEST = 20, 0.03
# The window of the background estimate as a share of the longer side; wider than any pen.
BACKGROUND_WINDOW = 0.35
# With uneven light, empty paper reached a contrast of 5.5 deviations, and strokes at least 6. A
# digit that fills its picture has less, but few pixels halfway between ink and paper.
DEVIATIONS, VALLEY = 5.5, 0.2
EMPTY = "Nothing is drawn on this picture: draw a digit and send it again."


class Ink(NamedTuple):
    """Ink, uint8 [h, w]: 0 is paper, 128 the outline of a stroke, 255 full ink.

    Its upper left corner is at (x, y) of the gray picture; a pixel is scale pixels of it wide.
    """

    cover: np.ndarray
    x: int
    y: int
    scale: float


def find_ink(gray: np.ndarray) -> Ink:
    """Find the ink on uint8 [H, W]. Raises ImageError if nothing is drawn."""
    frame = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    if np.ptp(frame) <= PLAIN:
        return drawing_ink(gray, int(frame.mean()))
    return photo_ink(gray)


def drawing_ink(gray: np.ndarray, paper: int) -> Ink:
    """Find the ink on a plain background of the given level."""
    darkest, lightest = int(gray.min()), int(gray.max())
    light = gray if paper - darkest >= lightest - paper else 255 - gray
    paper = paper if light is gray else 255 - paper
    drawn = light < paper - MIN_CONTRAST
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows) or max(np.ptp(rows), np.ptp(columns)) + 1 < SHORTEST * max(gray.shape):
        raise ImageError("nothing_drawn", EMPTY)
    # The frame is paper, so there is a pixel on each side of the ink.
    x, y = int(columns[0]) - 1, int(rows[0]) - 1
    light = light[y : rows[-1] + 2, x : columns[-1] + 2]
    factor = max(1, *(-(-s // most) for s, most in zip(light.shape[::-1], DRAWING_SIZE)))
    image = Image.fromarray(light)
    cover = paper - np.asarray(image.reduce(factor) if factor > 1 else image).astype(np.int16)
    cover = np.maximum(cover, 0).astype(np.uint8)
    return Ink(stretch(cover, otsu_threshold(cover)), x, y, factor)


def photo_ink(gray: np.ndarray) -> Ink:
    """Find the ink on a background of uneven light, texture and printed lines."""
    scale = max(1, max(gray.shape) / WORK_SIDE)
    size = max(1, round(gray.shape[1] / scale)), max(1, round(gray.shape[0] / scale))
    work = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))
    cover = darkening(work if is_dark_on_light(work) else 255 - work)
    threshold = otsu_threshold(cover)
    mask = cover > threshold
    if not has_contrast(cover, mask, threshold):
        raise ImageError("nothing_drawn", EMPTY)
    return Ink(stretch(cover, threshold) * remove_rulings(mask), 0, 0, scale)


def is_dark_on_light(work: np.ndarray) -> bool:
    """Tell ink from paper: paper is at the left and right sides, and ink is the other tail."""
    small = np.asarray(Image.fromarray(work).resize((32, 32), Image.Resampling.BOX), np.float32)
    left, right = np.median(small[:, :3], axis=1), np.median(small[:, -3:], axis=1)
    paper = np.linspace(left, right, 32, axis=1)
    return bool(((small - paper) ** 3).sum() <= 0)


def darkening(light: np.ndarray) -> np.ndarray:
    """Return how much darker than its background each pixel is: uint8 [h, w], 255 is black.

    The background is the morphological closing with a window wider than a stroke: Gonzalez and
    Woods, Digital Image Processing, 3rd ed., section 9.6.3.
    """
    window = round(max(light.shape) * BACKGROUND_WINDOW / 2) * 2 + 1
    padded = np.pad(light, 1, mode="edge").astype(np.uint16)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred = ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) // 9).astype(np.uint8)
    ground = slide(slide(blurred, window, np.maximum), window, np.minimum).astype(np.float32)
    # On a background that is nearly black, noise would be divided by next to nothing.
    return (np.clip((ground - light) / np.maximum(ground, 32), 0, 1) * 255).astype(np.uint8)


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


def otsu_threshold(cover: np.ndarray) -> int:
    """Return the level that best splits uint8 values in two (Otsu 1979, IEEE Trans. SMC 9(1))."""
    counts = np.bincount(cover.ravel(), minlength=256)
    below = counts.cumsum()
    moment = (counts * np.arange(256)).cumsum()
    product = np.maximum(below * (below[-1] - below), 1).astype(float)
    between = (moment * below[-1] - moment[-1] * below).astype(float) ** 2 / product
    # Between two clean classes is a plateau: take its middle.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return int(best[len(best) // 2])


def has_contrast(cover: np.ndarray, mask: np.ndarray, threshold: int) -> bool:
    """Return whether the two sides of a threshold are ink and paper, not noise cut in two."""
    if not mask.any():
        return False
    contrast = cover[mask].mean() - cover[~mask].mean()
    valley = (abs(cover - np.float32(threshold)) < contrast / 4).mean()
    clear = contrast > DEVIATIONS * cover[~mask].std() or valley < VALLEY
    return bool(contrast > MIN_CONTRAST and clear)


def stretch(cover: np.ndarray, threshold: int) -> np.ndarray:
    """Map levels so that the threshold becomes 128, the outline, and strokes become 255."""
    counts = np.bincount(cover.ravel(), minlength=256)[threshold + 1 :].cumsum()
    full = threshold + 1 + np.searchsorted(counts, 0.6 * counts[-1])
    full = max(full, threshold * 1.1, threshold + 1)
    levels = 128 + (np.arange(256) - threshold) * (128 / (full - threshold)) / 1
    return np.clip(levels, 0, 255).astype(np.uint8)[cover]
