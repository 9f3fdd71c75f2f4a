"""Cut digits that touch each other.

digits = split_touching(digits, confidence)
"""

from collections.abc import Callable, Sequence

import numpy as np
from vision.digits import MAX_DIGITS, Digit, crop

# A piece may be several digits that touch if its width is at least this share of its height. It is
# cut into parts of about that width.
NARROWEST_PAIR = 0.7


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
        usual = round(width / (NARROWEST_PAIR * height))
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
        if cover.max(initial=0) < 128:
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
