"""What reading a picture wrongly makes of it: empty pages, wrong polarity, parts of digits.

Pages are drawn as gray pictures, and read in simple ways that a server might try.
"""

import numpy as np
from drawing.added_digits import add_frame, draw_added_digits
from drawing.strokes import SIDE, to_mnist

PAGE = 64  # pixels
WINDOW = 23  # pixels of a page, wider than a stroke: for its background
# Halves that show nothing of the digit: an image's rows or columns, and the digits.
TOP, BOTTOM, LEFT = (0, 5), (0, 2, 3, 5), (5, 8)


def edge(count: int, rng: np.random.Generator) -> np.ndarray:
    """Distances in pages, float32 [count, PAGE, PAGE], to a straight or curved edge."""
    y, x = (np.mgrid[:PAGE, :PAGE] / PAGE - 0.5).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bend = rng.normal(0, 1.0, (count, 1, 1)) * (rng.uniform(size=(count, 1, 1)) < 0.5)
    return (across + bend * along**2 + rng.uniform(-0.45, 0.45, (count, 1, 1))).astype(np.float32)


def draw_pages(count: int, rng: np.random.Generator) -> np.ndarray:
    """Empty paper with shadows, folds, lines and noise: float32 [count, 64, 64] in 0..1."""

    def vary(low: float, high: float, share: float = 1.0) -> np.ndarray:
        values = rng.uniform(low, high, (count, 1, 1)) * (rng.uniform(size=(count, 1, 1)) < share)
        return values.astype(np.float32)

    y, x = (np.mgrid[:PAGE, :PAGE] / PAGE - 0.5).astype(np.float32)
    light = vary(0.5, 1.0) * (1 - vary(0, 1.2, 0.3) * (x**2 + y**2))
    for share in (0.8, 0.4):  # shadows, hard or soft; a dark table
        softness = np.exp(vary(np.log(0.004), np.log(0.15)))
        step = 1 / (1 + np.exp(np.clip(-edge(count, rng) / softness, -30, 30)))
        light *= 1 - vary(0.1, 0.8, share) * step
    for share in (0.2, 0.1):  # folds and single lines
        distance = edge(count, rng) / vary(0.006, 0.04)
        light *= 1 - vary(-0.2, 0.7, share) * np.exp(-(distance**2))
    for axis in (x, y):  # ruled or squared paper, seen upright or tilted
        tilt = x if axis is y else -y
        place = (axis + vary(-0.1, 0.1) * tilt + vary(0, 1)) / vary(0.1, 0.5)
        line = np.abs(place - np.rint(place)) < vary(0.02, 0.1)
        light *= 1 - vary(0.1, 0.7, 0.25) * line
    distance = np.hypot(x - vary(-0.6, 0.6), (y - 0.5 * np.sign(vary(-1, 1))) * vary(0.5, 1.5))
    light *= 1 - vary(0.3, 0.9, 0.1) * (distance < vary(0.1, 0.35))  # a finger
    return light + vary(0.0, 0.03) * rng.standard_normal(light.shape, np.float32)


def put_on_page(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 [N, 28, 28], enlarged, cut out with little or much margin: float32 [N, 64, 64].

    The paper is 1 and the ink 0 to 0.7; the paper may be shaded.
    """
    count = len(digits)
    reach = rng.uniform(20, 34, (count, 1))  # pixels of the digit's image seen on the page
    at = (np.arange(PAGE) + 0.5) / PAGE - 0.5
    weights = []
    for _ in range(2):
        place = at * reach + SIDE / 2 - 0.5 + rng.uniform(-1, 1, (count, 1)) * (reach - 20) / 2
        weights.append(np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(SIDE))))
    ink = weights[0] @ (digits / 255) @ weights[1].transpose(0, 2, 1)
    light = np.where(rng.uniform(size=(count, 1, 1)) < 0.3, draw_pages(count, rng), 1)
    noise = rng.uniform(0, 0.03, (count, 1, 1)) * rng.standard_normal(ink.shape)
    return (light * (1 - ink * rng.uniform(0.3, 1, (count, 1, 1))) + noise).astype(np.float32)


def darkening(pages: np.ndarray) -> np.ndarray:
    """How much darker each pixel of float32 [N, H, W] is than its surroundings (their closing)."""
    ground = -slide_maximum(-slide_maximum(pages))
    return ground - pages


def slide_maximum(pages: np.ndarray) -> np.ndarray:
    """The maximum of float32 [N, H, W] over a square of WINDOW pixels, with the edges repeated."""
    for _ in range(2):
        wide = np.pad(pages, [(0, 0), (WINDOW // 2, WINDOW // 2), (0, 0)], mode="edge")
        reach = 1
        while reach < WINDOW:
            hop = min(reach, WINDOW - reach)
            wide = np.maximum(wide[:, :-hop], wide[:, hop:])
            reach += hop
        pages = wide.transpose(0, 2, 1)
    return pages


def read(pages: np.ndarray, local: bool) -> np.ndarray:
    """The ink of pages float32 [N, 64, 64] in MNIST's form: what is darker than the rest.

    Darker than its surroundings if `local`, or on the whole page; the threshold is Otsu's (1979).
    """
    cover = darkening(pages) if local else -pages
    low, high = cover.min(axis=(1, 2), keepdims=True), cover.max(axis=(1, 2), keepdims=True)
    levels = ((cover - low) / np.maximum(high - low, 1e-6) * 63).astype(np.int64)
    offsets = 64 * np.arange(len(pages))[:, None]
    counts = np.bincount(
        (levels.reshape(len(pages), PAGE**2) + offsets).ravel(), minlength=64 * len(pages)
    )
    counts = counts.reshape(len(pages), 64)
    below, moment = counts.cumsum(axis=1), (counts * np.arange(64)).cumsum(axis=1)
    total, mean = below[:, -1:], moment[:, -1:] / below[:, -1:]
    between = (mean * below - moment) ** 2 / np.maximum(below * (total - below), 1)
    threshold = between.argmax(axis=1)[:, None, None] + 1
    steepness = 128 / np.maximum(np.minimum(threshold, 64 - threshold) / 2, 1)
    return to_mnist(np.clip(128 + (levels - threshold + 0.5) * steepness, 0, 255).astype(np.uint8))


def draw_empty_pages(count: int, rng: np.random.Generator) -> np.ndarray:
    """What is read on empty pages: uint8 [count, 28, 28]."""
    return read_twice(draw_pages(count, rng))


def draw_negatives(count: int, rng: np.random.Generator) -> np.ndarray:
    """The paper around and between digits, taken for ink: uint8 [count, 28, 28]."""
    digits, _ = draw_some_digits(count, rng)
    return read_twice(1 - put_on_page(digits, rng))


def draw_some_digits(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Digits uint8 [count, 28, 28] and their labels."""
    return draw_added_digits(count, seed=int(rng.integers(2**31)))


def read_twice(pages: np.ndarray) -> np.ndarray:
    """Half of the pages read in one way, half in the other; without bars, which look like a 1."""
    half = len(pages) // 2
    images = np.concatenate([read(pages[:half], local=True), read(pages[half:], local=False)])
    inked = images > 127
    height, width = inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1)
    return np.resize(images[width >= 0.45 * height], images.shape)


def draw_halves(count: int, rng: np.random.Generator) -> np.ndarray:
    """Halves of digits that resemble no digit: uint8 [count, 28, 28]."""
    digits, labels = draw_some_digits(2 * count + 50, rng)
    middle = SIDE // 2
    parts = []
    for lost, of in (
        (np.s_[:, middle:], TOP),
        (np.s_[:, :middle], BOTTOM),
        (np.s_[:, :, middle:], LEFT),
    ):
        some = digits[np.isin(labels, of)].copy()
        some[lost] = 0
        parts.append(some)
    return to_mnist(rng.permutation(np.concatenate(parts))[:count])


def draw_pairs(count: int, rng: np.random.Generator) -> np.ndarray:
    """Two digits side by side, touching or not, in one box: uint8 [count, 28, 28]."""
    digits, _ = draw_some_digits(2 * count, rng)
    pages = np.zeros((count, SIDE, 2 * SIDE), np.uint8)
    for page, left, right in zip(pages, digits[:count], digits[count:], strict=True):
        end = np.flatnonzero((left > left.max() / 2).any(axis=0))[-1]
        start = np.flatnonzero((right > right.max() / 2).any(axis=0))[0]
        at = int(np.clip(end - start + rng.integers(-1, 5), 0, SIDE))
        page[:, :SIDE] = left
        page[:, at : at + SIDE] = np.maximum(page[:, at : at + SIDE], right)
    return to_mnist(pages)


def draw_framed(count: int, rng: np.random.Generator) -> np.ndarray:
    """Digits in a whole frame, which leaves too little of them: uint8 [count, 28, 28]."""
    digits, _ = draw_some_digits(count, rng)
    return add_frame(digits, rng, share=1)
