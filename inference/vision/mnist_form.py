"""From a digit to 28x28: bring the ink of one digit to MNIST's form.

image = to_mnist(cover)

MNIST's form (http://yann.lecun.com/exdb/mnist): white on black, the digit's aspect kept in a box
of 20x20, its centre of mass in the middle of 28x28, gray levels from anti-aliasing alone.
"""

import numpy as np
from PIL import Image

SIDE, BOX = 28, 20


def mnist_picture(gray: np.ndarray) -> np.ndarray | None:
    """Return a picture that is in MNIST's form already, or its inverse if that is; else None.

    The box and the centre of mass may differ from the definition by one or two pixels: both depend
    on where the outline of a blurred stroke is taken to be.
    """
    if gray.shape != (SIDE, SIDE):
        return None
    for image in (gray, 255 - gray):
        if np.sort(outermost(image))[2 * SIDE] >= 16:
            continue
        mask, total = image > 64, max(int(image.sum()), 1)
        sides = [np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1) if mask.any()]
        middle = [image.sum(axis=axis) @ np.arange(SIDE) / total for axis in (0, 1)]
        centred = all(abs(place - SIDE / 2) <= 1.25 for place in middle)
        if centred and abs(max(sides, default=0) - BOX) <= 2:
            return image
    return None


def to_mnist(cover: np.ndarray) -> np.ndarray:
    """Bring the ink of a digit, uint8 [h, w] with a margin of one pixel, to uint8 [28, 28]."""
    digit = cover[1:-1, 1:-1]
    digit = resize(digit, BOX / max(digit.shape))
    return centre(np.rint(digit * brightening(digit)).astype(np.uint8))


def brightening(digit: np.ndarray) -> float:
    """Return the factor that brings strokes thinner than a pixel to MNIST's full brightness."""
    return 255 / max(int(digit.max()), 1)


def centre(digit: np.ndarray) -> np.ndarray:
    """Put uint8 [h, w], at most 20x20, on 28x28 with its centre of mass in the middle.

    MNIST's middle is pixel 14 counted from 0: that is where its images have their mean.
    """
    height, width = digit.shape
    total = max(int(digit.sum()), 1)
    middle = (
        digit.sum(axis=1) @ np.arange(height) / total,
        digit.sum(axis=0) @ np.arange(width) / total,
    )
    y, x = (
        min(max(round(SIDE / 2 - m), 0), SIDE - s) for m, s in zip(middle, digit.shape, strict=True)
    )
    page = np.zeros((SIDE, SIDE), np.uint8)
    page[y : y + height, x : x + width] = digit
    return page


def resize(picture: np.ndarray, scale: float) -> np.ndarray:
    """Scale uint8 [h, w]."""
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    filtering = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize(size, filtering))


def with_margin(picture: np.ndarray, level: int = 0) -> np.ndarray:
    """Surround [h, w] with pixels of a level. np.pad takes ten times as long."""
    height, width = picture.shape
    page = np.full((height + 2, width + 2), level, picture.dtype)
    page[1:-1, 1:-1] = picture
    return page


def outermost(picture: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of [H, W]."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
