"""Remove the printed lines of lined and squared paper from a mask of ink; used by ink.py."""

import numpy as np

# A ruling is at most this thick (a share of the longer side), and covers this share of its way
# across the picture, part of it outside strokes.
THICKNESS, COVERED, BARE = 0.025, 0.7, 0.2
# The largest slope of a ruling: 11 degrees.
STEEPEST = 0.2


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
    thin = mask & (run_lengths(mask) <= thickest)
    y, x = np.nonzero(thin)
    steps = round(STEEPEST * width / 2)
    slopes = np.arange(-steps, steps + 1) * (STEEPEST / max(steps, 1))
    lift = round(STEEPEST * width / 2) + 2
    middle = x - width / 2

    def project(slope):
        return np.bincount(
            (y + lift + 0.5 - slope * middle).astype(int), minlength=height + 2 * lift
        )

    sharpness = [(project(slope).astype(float) ** 2).sum() for slope in slopes]
    slope = slopes[int(np.argmax(sharpness))]
    # Rows of the picture sheared by the slope: how far each goes, and how much of it is covered.
    offsets = (lift + 0.5 - slope * (np.arange(width) - width / 2)).astype(int)
    rows = np.arange(height)[:, None] + offsets
    columns = np.broadcast_to(np.arange(width), mask.shape)
    reach = np.bincount(rows.ravel(), minlength=height + 2 * lift)

    def covered(pixels):
        sheared = np.zeros((height + 2 * lift, width), bool)
        sheared[rows[pixels], columns[pixels]] = True
        near = sheared.copy()
        near[1:] |= sheared[:-1]
        near[:-1] |= sheared[1:]
        return near.sum(axis=1)

    lined = (
        (covered(mask) >= COVERED * reach) & (covered(thin) >= BARE * reach) & (reach > width / 4)
    )
    lined = np.convolve(lined, np.ones(2 * thickest + 1, int), mode="same")[: len(reach)] > 0
    return thin & lined[rows]


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """For each true pixel the length of the vertical run it belongs to: int [H, W]."""
    height, width = mask.shape
    columns = np.zeros((width, height + 2), np.int8)
    columns[:, 1:-1] = mask.T
    step = np.diff(columns, axis=1).ravel()
    starts, ends = np.flatnonzero(step == 1), np.flatnonzero(step == -1)
    change = np.zeros(step.size, int)
    change[starts] = ends - starts
    change[ends] -= ends - starts
    return np.cumsum(change).reshape(width, height + 1)[:, :height].T
