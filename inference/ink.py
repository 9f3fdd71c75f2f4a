"""From gray to ink: find out how much ink covers each pixel of a gray picture.

ink = find_ink(gray)

There are three kinds of pictures: drawings on a plain background, digits cropped to their bounding
box, and photographs, whose uneven light and printed lines are removed first.
"""

from typing import NamedTuple

import numpy as np
from image import ImageError
from mnist_form import outermost, resize, with_margin
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

# The longer side of the picture that photographs are read at, and the sides (width, height) that
# the ink of a drawing is reduced to, in pixels.
WORK_SIDE, DRAWING_SIZE = 256, (512, 128)
# The outermost pixels of a drawing on a plain background differ by at most this.
PLAIN = 6
# Ink must differ from its background by this many of 255 levels.
MIN_CONTRAST = 20
# A digit cropped to its box has more than this share of pixels at its darkest and lightest levels,
# less than that share halfway between them, and on each side a pixel of at least this level.
EXTREME, HALFWAY, TOUCHES = 0.3, 0.28, 0.4
# The window of the background estimate as a share of the longer side; wider than any pen.
BACKGROUND_WINDOW = 0.35
# Ink differs from its background by at least this many standard deviations: chosen between empty
# paper with a hard shadow and strokes on squared paper, on MNIST's training images.
# Above CERTAIN, it is ink however much its levels vary.
DEVIATIONS, CERTAIN = 5.3, 12
# A shape that fills this share of its box is not made of strokes.
SOLID = 0.85
# A printed line is at most this thick (a share of the longer side), and visible outside strokes on
# this share of its way across the picture. Its slope is at most 11 degrees.
THICKNESS, COVERED, STEEPEST = 0.025, 0.4, 0.2
EMPTY = "Nothing is drawn on this picture: draw a digit and send it again."


class Ink(NamedTuple):
    """Ink, uint8 [h, w]: 0 is paper, 128 the outline of a stroke, 255 full ink.

    Its upper left corner is at (x, y) of the gray picture; a pixel is scale pixels of it wide. It
    has a margin of one pixel around a photograph, and of more around other pictures.
    """

    cover: np.ndarray
    x: float
    y: float
    scale: float


def find_ink(gray: np.ndarray) -> Ink:
    """Find the ink on uint8 [H, W]. Raises ImageError if nothing is drawn."""
    frame = outermost(gray)
    if np.ptp(frame) <= PLAIN:
        return drawing_ink(gray, int(frame.mean()))
    return photo_ink(gray)


def drawing_ink(gray: np.ndarray, paper: int) -> Ink:
    """Find the ink on a plain background of the given level."""
    if paper - int(gray.min()) < int(gray.max()) - paper:
        gray, paper = 255 - gray, 255 - paper
    drawn = gray < paper - MIN_CONTRAST
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        raise ImageError("nothing_drawn", EMPTY)
    x, y = int(columns[0]) - 1, int(rows[0]) - 1  # The frame is paper: there is a pixel outside.
    box = gray[y : rows[-1] + 2, x : columns[-1] + 2]
    height, width = box.shape
    if np.count_nonzero(drawn) > SOLID * box.size and width > height / 2:
        # Perhaps a sheet on a table.
        inset = round(0.05 * max(height, width)) + 1
        sheet = box[inset:-inset, inset:-inset]
        if sheet.size and np.ptp(sheet) > MIN_CONTRAST:
            ink = find_ink(sheet)
            return ink._replace(x=ink.x + x + inset, y=ink.y + y + inset)
    factor = max(1, -(-width // DRAWING_SIZE[0]), -(-height // DRAWING_SIZE[1]))
    reduced = np.asarray(Image.fromarray(box).reduce(factor), np.int16)
    cover = np.maximum(paper - reduced, 0).astype(np.uint8)
    cover = with_margin(stretch(cover, otsu_threshold(cover)), 2)
    return Ink(cover, x - 2 * factor, y - 2 * factor, factor)


def cropped_digit(work: np.ndarray) -> np.ndarray | None:
    """Return the ink, uint8 [h, w], of a digit cropped to its bounding box; None for others.

    Such a picture has two levels, and its ink touches all four sides. Paper fills most of its
    corners and border.
    """
    low, high = int(work.min()), int(work.max())
    if high - low <= MIN_CONTRAST:
        return None
    level = (work - np.float32(low)) / (high - low)
    if (abs(level - 0.5) > 0.44).mean() < EXTREME or (abs(level - 0.5) < 0.25).mean() > HALFWAY:
        return None
    size = max(1, min(work.shape) // 6)
    ends = np.r_[:size, -size:0]
    if level[ends][:, ends].mean() + outermost(level).mean() > 1:
        level = 1 - level
    sides = level[0], level[-1], level[:, 0], level[:, -1]
    touching = min(side.max() for side in sides) >= TOUCHES
    return (255 * level).astype(np.uint8) if touching else None


def photo_ink(gray: np.ndarray) -> Ink:
    """Find the ink of a photograph, and of a digit that is cropped to its bounding box."""
    scale = max(1, max(gray.shape) / WORK_SIDE)
    work = resize(gray, 1 / scale)
    cropped = cropped_digit(work)
    if cropped is None:
        cover, margin = darkening(work if is_dark_on_light(work) else 255 - work), 1
    else:
        cover, margin = cropped, 2
    threshold = otsu_threshold(cover)
    mask = cover > threshold
    strokes = remove_rulings(mask)
    if cropped is None and not has_contrast(cover[strokes], cover[~mask]):
        raise ImageError("nothing_drawn", EMPTY)
    cover = with_margin(stretch(cover, threshold) * strokes, margin)
    return Ink(cover, -margin * scale, -margin * scale, scale)


def is_dark_on_light(work: np.ndarray) -> bool:
    """Tell ink from paper: paper is at the sides of the picture, and ink is the other tail."""
    small = np.asarray(Image.fromarray(work).resize((64, 64), Image.Resampling.BOX), np.float32)
    sides = np.pad(np.hstack([small[:, :6], small[:, -6:]]), [(16, 16), (0, 0)], mode="edge")
    medians = np.median(sliding_window_view(sides, 33, axis=0).reshape(64, 2, -1), axis=2)
    paper = np.linspace(*medians.T, 64, axis=1)
    return bool(((small - paper) ** 3).sum() <= 0)


def darkening(light: np.ndarray) -> np.ndarray:
    """Return how much darker than its background each pixel is: uint8 [h, w], 255 is black.

    The background is the morphological closing with a window wider than a stroke: Gonzalez and
    Woods, Digital Image Processing, 3rd ed., section 9.6.3.
    """
    window = round(max(light.shape) * BACKGROUND_WINDOW / 2) * 2 + 1
    ground = slide(slide(light, window, np.maximum), window, np.minimum).astype(np.float32)
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
    # Between two classes without levels in between, all thresholds are equally good.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return int(best[len(best) // 2])


def has_contrast(strokes: np.ndarray, paper: np.ndarray) -> bool:
    """Return whether the levels of strokes and of paper are two classes, not noise cut in two."""
    if not len(strokes):
        return False
    contrast = strokes.mean() - paper.mean()
    # Strokes vary more than paper does, because they have outlines.
    deviation = np.hypot(paper.std(), strokes.std() / 2)
    clear = contrast > min(DEVIATIONS * deviation, CERTAIN * paper.std())
    return bool(contrast > MIN_CONTRAST and clear)


def stretch(cover: np.ndarray, threshold: int) -> np.ndarray:
    """Map levels so that the threshold becomes 128, the outline, and strokes become 255."""
    counts = np.bincount(cover.ravel(), minlength=256)[threshold + 1 :].cumsum()
    full = max(threshold * 1.1, threshold + 1 + np.searchsorted(counts, 0.6 * counts[-1]))
    levels = [max(2 * threshold - full, 0), threshold, full]
    return np.interp(np.arange(256), levels, [0, 128, 255]).astype(np.uint8)[cover]


def remove_rulings(mask: np.ndarray) -> np.ndarray:
    """Clear the printed lines of lined and squared paper in a boolean [H, W].

    A line is removed run by run across it, as staff lines are in optical music recognition
    (Dalitz et al. 2008, IEEE Trans. PAMI 30(5), 753-766), so strokes that cross it stay whole.
    """
    return mask & ~find_rulings(mask) & ~find_rulings(mask.T).T


def find_rulings(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of thin lines from the left to the right side, tilted or not."""
    height, width = mask.shape
    thickest = max(2, round(max(mask.shape) * THICKNESS))
    # Ink that is not part of a higher run of pixels: a morphological opening.
    high = np.pad(mask, [(thickest, thickest), (0, 0)])
    for every in (np.all, np.any):
        high = every(sliding_window_view(high, thickest + 1, axis=0), axis=-1)
    thin = mask & ~high
    # Project the ink along each slope: along a line's own, the profile has the sharpest peaks.
    lift = round(STEEPEST * width / 2) + 2
    y, x = np.nonzero(thin)

    def project(y: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
        return (y + lift + 0.5 - slope * (x - width / 2)).astype(int)

    slope = max(
        np.linspace(-STEEPEST, STEEPEST, 2 * (lift - 2) + 1),
        key=lambda slope: (np.bincount(project(y, x, slope)) ** 2).sum(),
    )
    rows = project(*np.indices(mask.shape), slope)
    profile = np.zeros((height + 2 * lift, width), bool)
    profile[rows[thin], x] = True
    covered = (profile | np.roll(profile, 1, axis=0) | np.roll(profile, -1, axis=0)).sum(axis=1)
    lined = covered >= COVERED * np.maximum(np.bincount(rows.ravel(), minlength=len(profile)), 1)
    return thin & lined[rows]
