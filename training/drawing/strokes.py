"""Handwriting: turns templates of pen strokes, and other ink, into 28x28 images in MNIST's form.

A template's points are moved at random, and the shape is bent, slanted, stretched and rotated. It
is drawn with a pen of random width, scaled to 20x20 pixels and centred by its centre of mass in
28x28 (LeCun, Cortes, Burges: The MNIST database, http://yann.lecun.com/exdb/mnist/).

A template is a line of text. Points are x,y in percent of the sign's height, y down, joined by a
smooth curve; * is a sharp corner, | lifts the pen. Points with the same text move together.
"""

from functools import cache

import numpy as np

SIDE, BOX = 28, 20  # pixels: the image, and the box that MNIST fits the ink into
PIECE = 0.035  # longest straight piece of a curve, in heights: under a pixel of the 20
BATCH = 256  # images drawn at once: their arrays stay in the processor's cache


@cache
def stroke_matrices(template: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a template: its distinct points float32 [P, 2] in heights, and two matrices
    float32 [S, P] that give the starts and ends of S short lines when multiplied by the points.

    The curve is a uniform Catmull-Rom spline (Catmull, Rom 1974, A Class of Local Interpolating
    Splines): linear in its points, so that one matrix product draws a batch.
    """
    names: dict[str, int] = {}
    paths = []
    for stroke in template.split(" | "):
        path = []
        for word in stroke.split():
            index = names.setdefault(word.rstrip("*"), len(names))
            path += [index] * (2 if word.endswith("*") else 1)  # a doubled point makes a corner
        closed = path[0] == path[-1]
        before, after = (path[-2], path[1]) if closed else (path[0], path[-1])
        paths.append([before, *path, after])
    points = np.array([name.split(",") for name in names], np.float32) / 100
    starts, ends = [], []
    for window in (path[i : i + 4] for path in paths for i in range(len(path) - 3)):
        if window[1] == window[2]:
            continue
        pieces = int(np.linalg.norm(points[window[2]] - points[window[1]]) / PIECE) + 1
        t = np.linspace(0, 1, pieces + 1)
        powers = np.stack([t**0, t, t**2, t**3], axis=1)
        basis = powers @ ((0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)) / 2
        curve = np.zeros((pieces + 1, len(points)), np.float32)
        for index, share in zip(window, basis.T, strict=True):
            curve[:, index] += share
        starts.append(curve[:-1])
        ends.append(curve[1:])
    return points, np.concatenate(starts), np.concatenate(ends)


def write(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` random variations of one template's points: float32 [count, P, 2]."""

    def normal(scale: float, *shape: int) -> np.ndarray:
        return rng.normal(0, scale, (count, *shape)).astype(np.float32)

    points = points - points.mean(axis=0)
    ink = points + normal(0.025, *points.shape)
    # Neighbouring points move together as well: waves of random direction and length.
    for _ in range(2):
        angle = (points @ normal(4, 2)[..., None])[..., 0] + normal(9, 1)
        ink = ink + np.sin(angle)[..., None] * normal(0.035, 1, 2)
    # Bend the whole shape: add a random quadratic function of x and y to each coordinate.
    x, y = ink[..., 0], ink[..., 1]
    ink = ink + np.stack([x * x - 0.1, x * y, y * y - 0.1], axis=-1) @ normal(0.22, 3, 2)
    slant, turn, width = 0.18 + normal(0.25), normal(0.1), np.exp(0.06 + normal(0.2))
    right = np.stack([width * np.cos(turn), width * np.sin(turn)], axis=-1)
    down = np.stack([-slant - np.sin(turn), np.cos(turn)], axis=-1)
    return ink @ np.stack([right, down], axis=1)


def render(ink: np.ndarray, template: str, rng: np.random.Generator) -> np.ndarray:
    """Draw variations float32 [N, P, 2] of one template in MNIST's form: uint8 [N, 28, 28].

    A pixel's distance d to the line comes from a sum over the line's pieces of exp(-d^2 / 2s^2),
    which splits into a factor of x and one of y: a matrix product instead of a loop over pixels.
    """
    _, starts, ends = stroke_matrices(template)
    start, end = starts @ ink, ends @ ink
    length = np.linalg.norm(end - start, axis=2, keepdims=True)
    low = np.minimum(start, end).min(axis=1, keepdims=True)
    extent = (np.maximum(start, end).max(axis=1, keepdims=True) - low).max(axis=2, keepdims=True)
    # The longer the line in its box, the thinner the pen: a thick 8 would have no holes.
    crowding = length.sum(axis=1, keepdims=True) / extent
    pen = np.exp(rng.normal(0.42, 0.34, crowding.shape)).astype(np.float32) / crowding**0.2
    pen = pen.clip(0.75, 3.4)  # radius in pixels
    scale = (BOX - 2 * pen) / extent
    middle = ((start + end) / 2 - low) * scale + pen
    mass = (middle * length).sum(axis=1, keepdims=True) / length.sum(axis=1, keepdims=True)
    middle += np.round(SIDE / 2 - mass) - 0.5  # by whole pixels, as in MNIST

    spread = 0.7  # s, in pixels
    along = np.linspace(0, 1, length.shape[1], dtype=np.float32)[:, None]
    wave, phase = rng.uniform(2, 12, (2, len(ink), 1, 1)).astype(np.float32)
    pressure = length * scale * np.exp(0.5 * np.sin(wave * along + phase))
    factors = np.exp(
        (middle[..., None] - np.arange(SIDE, dtype=np.float32)) ** 2 * (-0.5 / spread**2)
    )
    columns, rows = factors[:, :, 0] * pressure, factors[:, :, 1]
    density = rows.transpose(0, 2, 1) @ columns / np.float32(spread * np.sqrt(2 * np.pi))
    distance = spread * np.sqrt(np.maximum(-2 * np.log(density + 1e-30), 0))
    rough = rng.standard_normal(distance.shape, np.float32) * 0.2  # like the edge of ink on paper
    return centre((255 * np.clip(pen - distance - rough + 0.5, 0, 1)).astype(np.uint8))


def centre(images: np.ndarray) -> np.ndarray:
    """Move images uint8 [N, 28, 28] by whole pixels so that their centres of mass are central."""
    place = np.arange(SIDE) - (SIDE - 1) / 2
    rows, columns = images.sum(axis=2), images.sum(axis=1)
    mass = np.maximum(rows.sum(axis=1), 1)
    limit = (SIDE - BOX) // 2  # so that nothing of the box is moved out of the image
    down, right = (
        np.round(part @ place / mass).astype(int).clip(-limit, limit) for part in (rows, columns)
    )
    grid = np.arange(SIDE)
    y, x = ((grid + shift[:, None]) % SIDE for shift in (down, right))
    return images[np.arange(len(images))[:, None, None], y[:, :, None], x[:, None, :]]


def to_mnist(pictures: np.ndarray) -> np.ndarray:
    """Bring ink uint8 [N, H, W] to MNIST's form: uint8 [N, 28, 28]; a blank picture stays blank.

    Each axis is resampled by its own matrix, whose entries are the overlaps of source and target
    pixels (area averaging), so that one matrix product scales a batch.
    """
    inked = pictures > 127
    rows, columns = bounds(inked.any(axis=2)), bounds(inked.any(axis=1))
    scale = BOX / np.maximum(np.maximum(rows[1] - rows[0], columns[1] - columns[0]), 1)
    down = overlaps(*rows, scale, pictures.shape[1])
    across = overlaps(*columns, scale, pictures.shape[2])
    fitted = down @ pictures.astype(np.float32) @ across.transpose(0, 2, 1)
    return centre(np.rint(fitted).astype(np.uint8))


def bounds(inked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and one past the last True of each row of a boolean [N, L]; 0 and 0 if none."""
    length = inked.shape[1]
    first, last = inked.argmax(axis=1), length - inked[:, ::-1].argmax(axis=1)
    return np.where(inked.any(axis=1), (first, last), 0)


def overlaps(low: np.ndarray, high: np.ndarray, scale: np.ndarray, length: int) -> np.ndarray:
    """Float32 [N, SIDE, length]: the share of each source pixel in each target pixel.

    The source's interval from `low` to `high` is scaled by `scale` into the middle of the target.
    """
    edges = np.arange(SIDE + 1) - np.round(SIDE / 2 - (high - low) * scale / 2)[:, None]
    edges = edges / scale[:, None] + low[:, None]
    pixel = np.arange(length)
    shared = np.minimum(edges[:, 1:, None], pixel + 1) - np.maximum(edges[:, :-1, None], pixel)
    return (shared.clip(0) * scale[:, None, None]).astype(np.float32)


def draw(templates: tuple[str, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` images of randomly chosen templates: uint8 [count, 28, 28]."""
    images = np.empty((count, SIDE, SIDE), np.uint8)
    picked = rng.integers(len(templates), size=count)
    for index, template in enumerate(templates):
        places = np.flatnonzero(picked == index)
        for batch in (places[at : at + BATCH] for at in range(0, len(places), BATCH)):
            ink = write(stroke_matrices(template)[0], len(batch), rng)
            images[batch] = render(ink, template, rng)
    return images
