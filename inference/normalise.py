"""Brings a drawing of a digit, or of a row of digits, to MNIST's own form.

Used by app.py:  image, warnings = to_mnist(gray)   boxes_and_images = segment(gray)

MNIST's form (http://yann.lecun.com/exdb/mnist): white on black, the digit's aspect kept in a box
of 20x20, its centre of mass in the middle of 28x28, gray levels from anti-aliasing alone.
"""

import numpy as np
from image import ImageError
from ink import has_contrast, ink_map, is_dark_on_light, otsu_threshold, working_picture
from pieces import Box, bounds, find_digits, split_touching
from PIL import Image

SIDE, BOX = 28, 20
# Strokes are thickened or thinned at this multiple of the final resolution.
FINE = 4
# Widths of strokes in pixels of the 20x20 box, as stroke_width measures them. In MNIST's training
# images 1.5 is the 1st percentile, 2.5 the median and 3.0 the third quartile; thinning all above
# it opens the loops of thick pens and costs nothing elsewhere.
THINNEST, USUAL, THICKEST = 1.5, 2.5, 3.0
# Where warnings start: a range of gray levels, a share of the digit's box, a width by its height
# (one in a thousand of MNIST's digits is wider than 1.7).
FAINT, SOLID, WIDEST = 64, 0.85, 2.0
# Ink that covers this much (0..1) is no shadow.
STRONG = 0.6
EMPTY = "Nothing is drawn on this picture: draw a digit and send it again."


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
    image = render(ink, largest)
    return image, _warnings(gray, digits, largest)


def _warnings(gray: np.ndarray, digits: list[np.ndarray], largest: np.ndarray) -> list[str]:
    found = []
    if len(digits) > 1:
        found.append("More than one digit seems to be drawn: this is the largest.")
    if np.ptp(gray) < FAINT:
        found.append("The drawing is faint.")
    _, _, width, height = bounds(largest)
    if is_solid(largest):
        found.append("This is a filled shape, not strokes: it does not look like a digit.")
    elif width > WIDEST * height:
        found.append("This is wider than a digit.")
    return found


def segment(gray: np.ndarray) -> list[tuple[Box, np.ndarray]]:
    """The digits of a row, left to right: ((x, y, width, height) in gray's pixels, [28, 28]).

    Raises ImageError 422 when nothing is drawn.
    """
    ink, digits = strokes(gray, gap=0)
    tallest = max(bounds(mask)[3] for mask in digits)
    digits = [part for mask in digits for part in split_touching(mask, tallest)]
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
    work = working_picture(gray)
    dark = is_dark_on_light(work)
    found = _strokes(work, dark, gap, edges=True)
    sheets = [mask for mask in found[1] if is_solid(mask)] if found else []
    if sheets:
        found = _strokes_on_sheet(work, max(sheets, key=np.sum), not dark, gap) or found
    if found is None:
        raise ImageError("nothing_drawn", EMPTY)
    return found


def _strokes_on_sheet(
    work: np.ndarray, sheet: np.ndarray, dark_on_light: bool, gap: float
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """A sheet on a dark table is a filled shape at first: look for strokes within its box."""
    x, y, width, height = bounds(sheet)
    inset = round(0.05 * max(width, height))
    inside = slice(y + inset, y + height - inset), slice(x + inset, x + width - inset)
    if min(work[inside].shape) < BOX:
        return None
    found = _strokes(work[inside], dark_on_light, gap, edges=False)
    if found is None or any(map(is_solid, found[1])):
        return None
    whole = [np.zeros(work.shape, part.dtype) for part in (found[0], *found[1])]
    for page, part in zip(whole, (found[0], *found[1]), strict=True):
        page[inside] = part
    return whole[0], whole[1:]


def _strokes(
    work: np.ndarray, dark_on_light: bool, gap: float, edges: bool
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    ink = ink_map(work, dark_on_light)
    threshold = otsu_threshold(ink)
    mask = ink > threshold
    if not has_contrast(ink, mask):
        return None
    # Along the edges a shadow looks like pale ink: only a strong one is a tightly cropped digit.
    digits = find_digits(mask, gap, edges and bool(ink[mask].mean() > STRONG))
    if not digits:
        return None
    full = max(np.quantile(ink[np.any(digits, axis=0)], 0.6), threshold * 1.1)
    return np.clip(0.5 + (ink - threshold) / (2 * (full - threshold)), 0, 1), digits


def is_solid(mask: np.ndarray) -> bool:
    """Whether a digit's mask is a filled shape instead of strokes."""
    _, _, width, height = bounds(mask)
    return bool(mask.sum() > SOLID * width * height and width > height / 2)


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
