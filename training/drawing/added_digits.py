"""Digits that are added to each batch: as MNIST hardly has them, but people send them.

Other ways of writing, print, and wear: what cameras, displays and forms leave of a digit.
"""

import numpy as np
from drawing.printed import draw_printed_digits
from drawing.strokes import SIDE, draw, to_mnist
from drawing.synthetic import OTHER_STYLES

SMALL, LARGE = 7, 12  # rows of a digit at low resolution


def draw_added_digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits uint8 [count, 28, 28] in MNIST's form and their labels int64 [count].

    A third are printed, the others written in other styles than MNIST's; half of both are worn. A
    quarter are written 1s: MNIST's have neither flag nor base, and those of most fonts have both.
    """
    rng = np.random.default_rng([seed, 2])
    labels, printed = rng.integers(10, size=count), rng.uniform(size=count) < 0.4
    ones = rng.uniform(size=count) < 0.2
    labels[ones], printed[ones] = 1, False
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for digit, styles in OTHER_STYLES.items():
        places = (labels == digit) & ~printed
        images[places] = draw(styles, places.sum(), rng)
    images[printed], labels[printed] = draw_printed_digits(printed.sum(), rng)
    worn = rng.permutation(count)[: count // 2]
    images[worn] = wear(images[worn], labels[worn], rng)
    return images, labels


def wear(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28], a fifth of them changed by each of the following functions."""
    images = images.copy()
    changes = (coarsen, crop, add_specks, add_frame, add_line)
    parts = np.array_split(rng.permutation(len(images)), len(changes))
    for change, part in zip(changes, parts, strict=True):
        if change in (add_frame, add_line):
            part = part[labels[part] != 1]  # With a line, a 1 looks like a 7, a T or a cross.
        images[part] = change(images[part], rng)
    return images


def coarsen(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28] as if they had been seen on SMALL to LARGE rows of pixels.

    The enlarged pixels are squares, soft squares, or dots of a dot matrix.
    """
    result = np.empty_like(images)
    rows = rng.integers(SMALL, LARGE + 1, len(images))
    for size in range(SMALL, LARGE + 1):
        places = np.flatnonzero(rows == size)
        cells = round(SIDE * size / 20)
        share = grid_shares(cells)
        small = share @ images[places].astype(np.float32) @ share.T
        small *= 255 / small.max(axis=(1, 2), keepdims=True, initial=1)
        fine = 84 / cells  # drawn at three times the resolution
        at = ((np.arange(84) + 0.5) / fine - 0.5).clip(0, cells - 1)
        linear = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells)))
        nearest = (np.rint(at)[:, None] == np.arange(cells)).astype(float)
        steep = rng.uniform(1, 5, (len(places), 1, 1))
        soft = np.clip((linear @ small @ linear.T - 108) * steep + 128, 0, 255)
        off = np.abs(at - np.rint(at))
        dot = np.clip(4 * (0.46 - np.hypot(off[:, None], off)) + 0.5, 0, 1)
        square = np.clip((nearest @ small @ nearest.T - 108) * steep + 128, 0, 255)
        kind = rng.choice([0, 0, 1, 2], len(places))[:, None, None]
        result[places] = to_mnist(np.choose(kind, (soft, square, square * dot)).astype(np.uint8))
    return result


def grid_shares(cells: int) -> np.ndarray:
    """Float32 [cells, SIDE]: area averaging from SIDE pixels to `cells`."""
    edges = np.linspace(0, SIDE, cells + 1)
    pixel = np.arange(SIDE)
    shared = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (shared.clip(0) * cells / SIDE).astype(np.float32)


def crop(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28] that have lost a row or column or two at some sides of their box."""
    images = images.copy()
    for image in images:
        inked = image > image.max() / 2
        if not inked.any():
            continue  # an empty picture
        rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = rng.choice([0, 0, 1, 2], 4)
        image[: rows[0] + top] = 0
        image[rows[-1] + 1 - bottom :] = 0
        # A narrow digit, a 1, would lose its stroke.
        if len(columns) > 9:
            image[:, : columns[0] + left] = 0
            image[:, columns[-1] + 1 - right :] = 0
    return to_mnist(images)


def add_specks(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28] with one to three dots beside them or on them."""
    grid = np.arange(SIDE)
    for dots in range(3):
        y, x = rng.uniform(1, SIDE - 1, (2, len(images), 1))
        radius = rng.uniform(0.4, 1.5, (len(images), 1, 1))
        radius *= rng.uniform(size=radius.shape) < 1 / (1 + dots)
        distance = np.hypot((grid - y)[:, :, None], (grid - x)[:, None, :])
        spot = 255 * np.clip(radius - distance + 0.5, 0, 1)
        images = np.maximum(images, spot.astype(np.uint8))
    return to_mnist(images)


def add_line(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28] that are underlined, or with a line beside or through them."""
    grid = np.arange(SIDE)
    for share in (1, 0.3):
        under = rng.uniform(24.5, 27, (len(images), 1, 1))
        anywhere = rng.uniform(1, SIDE - 1, under.shape)
        place = np.where(rng.uniform(size=under.shape) < 0.5, under, anywhere)
        ink = draw_lines(place, rng) * (rng.uniform(size=under.shape) < share)
        ink *= np.abs(grid - SIDE / 2) < rng.uniform(7, 20, under.shape)
        images = np.maximum(images, ink.astype(np.uint8))
    return to_mnist(images)


def add_frame(images: np.ndarray, rng: np.random.Generator, share: float = 0.4) -> np.ndarray:
    """Digits uint8 [N, 28, 28] with this share of the sides of a frame around them."""
    for side in range(4):
        place = rng.uniform(0.5, 3, (len(images), 1, 1))
        ink = draw_lines(place, rng) * (rng.uniform(size=place.shape) < share)
        images = np.maximum(images, np.rot90(ink.astype(np.uint8), side, axes=(1, 2)))
    return to_mnist(images)


def add_ring(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28] with a circle or an ellipse around them."""
    room = 6  # pixels on each side, for the corners of a digit of 20x20
    place = np.arange(SIDE + 2 * room) - (SIDE - 1) / 2 - room
    radius_y, radius_x = rng.uniform(14.5, 18.5, (2, len(images), 1, 1))
    distance = np.abs(np.hypot(place[:, None] / radius_y, place / radius_x) - 1) * radius_y
    width = rng.uniform(0.4, 1.6, radius_y.shape)
    ink = 255 * np.clip(width - distance + 0.5, 0, 1)
    wide = np.pad(images, [(0, 0), (room, room), (room, room)])
    return to_mnist(np.maximum(wide, ink.astype(np.uint8)))


def draw_lines(place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A nearly horizontal line at each of the rows `place` [N, 1, 1]: float [N, 28, 28], 0..255."""
    grid = np.arange(SIDE)
    slope, width = rng.normal(0, 0.04, place.shape), rng.uniform(0.3, 1.2, place.shape)
    distance = np.abs(grid[:, None] - place - slope * (grid - SIDE / 2))
    return 255 * np.clip(width - distance + 0.5, 0, 1)
