"""Tells ink from paper in a gray picture: polarity, uneven light, contrast, threshold.

Used by normalise.py. Everything works on a picture reduced to WORK_SIDE, so its time and memory
are bounded whatever was sent.
"""

import numpy as np
from PIL import Image

WORK_SIDE = 256
# The window of the background estimate, as a share of the longer side: wider than any pen.
BACKGROUND_WINDOW = 0.35
# Ink this much darker than its ground (0..1) is the least that counts as drawn.
MIN_CONTRAST = 0.08


def working_picture(gray: np.ndarray) -> np.ndarray:
    """Reduce uint8 [H, W] so that its longer side is at most WORK_SIDE (area averaging)."""
    height, width = gray.shape
    scale = WORK_SIDE / max(height, width)
    if scale >= 1:
        return gray
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def ink_map(gray: np.ndarray, dark_on_light: bool) -> np.ndarray:
    """Uint8 [H, W] to float32 [H, W] in 0..1: how much ink covers each pixel, paper being 0.

    The ground is the morphological closing of the picture (opening, for light on dark) with a
    window wider than a stroke: the top-hat transform against uneven light, Gonzalez and Woods,
    Digital Image Processing, 3rd ed., section 9.6.3.
    """
    light = gray if dark_on_light else 255 - gray
    # Odd, so that it is symmetric.
    window = round(max(gray.shape) * BACKGROUND_WINDOW / 2) * 2 + 1
    ground = _slide(_slide(_blur(light), window, np.maximum), window, np.minimum)
    ground = ground.astype(np.float32)
    # On a ground that is nearly black noise would be divided by next to nothing.
    return np.clip((ground - light) / np.maximum(ground, 32), 0, 1)


def is_dark_on_light(gray: np.ndarray) -> bool:
    """Tell ink from paper: paper is what the frame of the picture shows, ink is the other tail.

    A plane fitted to the frame (robustly: strokes may cross it) allows for uneven light.
    """
    small = _grid(gray, 64).astype(np.float64)
    height, width = small.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    frame = np.maximum(abs(x), abs(y)) > 0.8
    keep = frame.copy()
    for _ in range(5):
        weights = np.linalg.lstsq(terms[keep], small[keep], rcond=None)[0]
        residual = small - terms @ weights
        spread = np.median(abs(residual[keep])) * 1.5 + 2
        keep = frame & (abs(residual) < 2.5 * spread)
        if keep.sum() < 3:
            break
    return float((residual**3).sum()) <= 0


def otsu_threshold(ink: np.ndarray) -> float:
    """The level that best splits the values in two (Otsu 1979, IEEE Trans. SMC 9(1), 62-66)."""
    counts, edges = np.histogram(ink, bins=256, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    moment = np.cumsum(counts * centres)
    valid = (below > 0) & (above > 0)
    mean_below = moment / np.maximum(below, 1)
    mean_above = (moment[-1] - moment) / np.maximum(above, 1)
    between = np.where(valid, below * above * (mean_above - mean_below) ** 2, -1.0)
    # A plateau between two clean classes: its middle, not its first bin.
    best = np.flatnonzero(between >= between.max() - 1e-9 * abs(between.max()))
    return float(edges[1 + best[len(best) // 2]])


def has_contrast(ink: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the two sides of a threshold are ink and paper, not one heap of noise cut in two.

    A normal distribution cut at its mean has its halves' means 2.65 deviations of a half apart;
    with uneven light, empty paper was seen to reach 5.5, strokes not to fall under 6.
    """
    if not mask.any() or mask.all():
        return False
    contrast = ink[mask].mean() - ink[~mask].mean()
    return bool(contrast > max(MIN_CONTRAST, 5.5 * ink[~mask].std()))


def _grid(gray: np.ndarray, side: int) -> np.ndarray:
    size = min(side, gray.shape[1]), min(side, gray.shape[0])
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def _blur(gray: np.ndarray) -> np.ndarray:
    """A 3x3 mean with the edge repeated, uint8 to uint8."""
    padded = np.pad(gray, 1, mode="edge").astype(np.uint16)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) // 9).astype(np.uint8)


def _slide(picture: np.ndarray, window: int, extreme: np.ufunc) -> np.ndarray:
    """Maximum or minimum over a square window, its edge repeated; doubling, so log(window)."""
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (window // 2, window - 1 - window // 2)
        wide = np.pad(picture, padding, mode="edge").swapaxes(0, axis)
        reach = 1
        while reach < window:
            hop = min(reach, window - reach)
            wide = extreme(wide[:-hop], wide[hop:])
            reach += hop
        picture = wide.swapaxes(0, axis)
    return picture
