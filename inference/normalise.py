"""Brings a drawing of a digit, or of a row of digits, to MNIST's own form.

Used by app.py:  image, warnings = to_mnist(gray)   boxes_and_images = segment(gray)

MNIST's form (http://yann.lecun.com/exdb/mnist): white on black, the digit's aspect kept in a box
of 20x20, its centre of mass in the middle of 28x28, gray levels from anti-aliasing alone.
"""

import numpy as np
from image import ImageError
from ink import has_contrast, ink_map, otsu_threshold, working_picture
from PIL import Image
from pieces import find_digits

SIDE, BOX = 28, 20
# Strokes are thickened or thinned at this multiple of the final resolution.
FINE = 4
# Widths of strokes in MNIST's first 20,000 training images in pixels of the 20x20 box, as
# stroke_width measures them: 1st, 50th and 99th percentile.
THINNEST, USUAL, THICKEST = 1.5, 2.5, 4.7
FAINT = 0.15

Box = tuple[int, int, int, int]


def to_mnist(gray: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Uint8 [H, W] to uint8 [28, 28] in MNIST's form, and what was noticed, in short sentences.

    A 28x28 picture that is light on a dark border already is returned as it came.
    Raises ImageError 422 when nothing is drawn.
    """
    if looks_like_mnist(gray):
        return gray, []
    if looks_like_mnist(255 - gray):
        return 255 - gray, []
    ink, digits = strokes(gray, gap=0.2)
    largest = max(digits, key=lambda mask: ink[mask].sum())
    warnings = []
    if len(digits) > 1:
        warnings.append("More than one digit seems to be drawn: this is the largest.")
    return render(ink, largest), warnings


def segment(gray: np.ndarray) -> list[tuple[Box, np.ndarray]]:
    """The digits of a row, left to right: ((x, y, width, height) in gray's pixels, [28, 28]).

    Raises ImageError 422 when nothing is drawn.
    """
    ink, digits = strokes(gray, gap=0)
    scale = gray.shape[1] / ink.shape[1]
    return [
        (tuple(round(side * scale) for side in bounds(mask)), render(ink, mask)) for mask in digits
    ]


def looks_like_mnist(gray: np.ndarray) -> bool:
    """28x28, with something light on a border that is dark all around."""
    if gray.shape != (SIDE, SIDE):
        return False
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    return bool(border.mean() < 64 and gray.max() > border.mean() + 64)


def strokes(gray: np.ndarray, gap: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ink, float32 [h, w] where 0.5 is its outline, and a boolean mask for each digit.

    Raises ImageError 422 when nothing is drawn.
    """
    ink = ink_map(working_picture(gray))
    threshold = otsu_threshold(ink)
    mask = ink > threshold
    digits = find_digits(mask, gap) if has_contrast(ink, mask) else []
    if not digits:
        raise ImageError("Nothing is drawn on this picture: draw a digit and send it again.", 422)
    full = max(np.quantile(ink[np.any(digits, axis=0)], 0.6), threshold * 1.1)
    return np.clip(0.5 + (ink - threshold) / (2 * (full - threshold)), 0, 1), digits


def render(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One digit in MNIST's form: scaled to the 20x20 box, strokes neither thin nor thick."""
    x, y, width, height = bounds(mask)
    window = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    digit = (ink * _dilate(mask))[window]
    fine = _resize(digit, BOX * FINE / max(width, height))
    # What enlarging has blurred gets its outline back.
    fine = np.clip((fine - 0.5) * 2 + 0.5, 0, 1)
    fine = _crop(usual_strokes(fine))
    return centre(np.rint(_resize(fine, BOX / max(fine.shape)) * 255).astype(np.uint8))


def usual_strokes(fine: np.ndarray) -> np.ndarray:
    """Thicken or thin strokes that are far from MNIST's; float32 [h, w] at FINE times the box."""
    width = stroke_width(fine) / FINE
    if THINNEST <= width <= THICKEST:
        return fine
    radius = (USUAL - width) / 2 if width < THINNEST else (THICKEST - width) / 2
    reach = round(abs(radius) * FINE)
    fine = np.pad(fine, reach + 1)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    extreme = np.maximum if radius > 0 else np.minimum
    result = fine
    for down, right in zip(*np.nonzero(x**2 + y**2 <= reach**2), strict=True):
        result = extreme(result, np.roll(fine, (down - reach, right - reach), axis=(0, 1)))
    return result


def stroke_width(digit: np.ndarray) -> float:
    """Mean width of the strokes of float [h, w] in pixels: twice the area over the outline."""
    padded = np.pad(digit, 1)
    across = abs(np.diff(padded, axis=0)).sum() + abs(np.diff(padded, axis=1)).sum()
    # Steps along both axes add up to 4/pi times an outline's length, over all directions.
    return 2 * padded.sum() / max(across * np.pi / 4, 1e-6)


def centre(digit: np.ndarray) -> np.ndarray:
    """Put uint8 [h, w], at most 20x20, on 28x28 with its centre of mass in the middle.

    MNIST's middle is pixel 14 counted from 0: that is where its images have their mean.
    """
    weight = digit.astype(np.float64)
    total = max(weight.sum(), 1)
    corner = []
    for axis in (0, 1):
        middle = (weight.sum(axis=1 - axis) * np.arange(digit.shape[axis])).sum() / total
        corner.append(int(np.clip(round(SIDE / 2 - middle), 0, SIDE - digit.shape[axis])))
    page = np.zeros((SIDE, SIDE), np.uint8)
    page[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return page


def bounds(mask: np.ndarray) -> Box:
    """The box (x, y, width, height) around the true pixels of a boolean [H, W]."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _crop(fine: np.ndarray) -> np.ndarray:
    x, y, width, height = bounds(fine > 0.5) if (fine > 0.5).any() else bounds(fine >= 0)
    return fine[y : y + height, x : x + width]


def _resize(picture: np.ndarray, scale: float) -> np.ndarray:
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    filtering = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.clip(np.asarray(Image.fromarray(picture).resize(size, filtering)), 0, 1)


def _dilate(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
