"""Draw MNIST's digits again, large and with smooth outlines, as ink on a page.

cover = place(digit, scale=1)   picture = paint(cover, ink=40, paper=ruled(rng, True))
encode(picture, "JPEG", quality=20)
"""

import io

import numpy as np
from PIL import Image, ImageDraw

PAGE = 280
# The scale of 1 shows MNIST's 28x28 frame at a third of the page: the digit, in its 20x20 box, is
# 67 pixels high. So 0.3 is a digit of 20 pixels and 3 one of 200 that fills the page.
FRAME = PAGE / 3


def place(
    digit: np.ndarray,
    scale: float = 2.0,
    shift: tuple[float, float] = (0, 0),
    degrees: float = 0,
    size: tuple[int, int] = (PAGE, PAGE),
    corners: np.ndarray | None = None,
) -> np.ndarray:
    """The share of each pixel of the page that ink covers: float32 [height, width] in 0..1.

    shift is in pixels from the middle; corners, if given, is where the frame's four corners go
    (upper left, upper right, lower right, lower left; [4, 2] as x, y) instead.
    """
    # Twice cubic, then steep around the middle: a pen's outline, not a grid of gray squares.
    large = Image.fromarray(digit).resize((PAGE, PAGE), Image.Resampling.BICUBIC)
    outline = np.clip((np.asarray(large, np.float32) / 255 - 0.5) * 4 + 0.5, 0, 1)
    if corners is None:
        half = FRAME * scale / 2
        square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = square @ turn + np.array(size) / 2 + np.array(shift)
    source = np.array([[0, 0], [PAGE, 0], [PAGE, PAGE], [0, PAGE]], float)
    # The transform samples points: where the frame shrinks, shrink by averaging first.
    side = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).mean()
    picture = Image.fromarray(np.rint(outline * 255).astype(np.uint8))
    if side < PAGE / 2:
        picture = picture.reduce(int(PAGE / side))
        source = source * picture.width / PAGE
    warped = picture.transform(
        size,
        Image.Transform.PERSPECTIVE,
        _perspective(corners, source),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(warped, np.float32) / 255


def _perspective(target: np.ndarray, source: np.ndarray) -> list[float]:
    """The eight coefficients that take points of target to points of source."""
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values)).tolist()


def paint(cover: np.ndarray, ink=30, paper=245) -> np.ndarray:
    """Ink on paper, each a level, an RGB triple or an array: float32 [height, width, 3]."""
    cover = cover[..., None]
    paper = np.broadcast_to(np.float32(paper), (*cover.shape[:2], 3))
    return paper * (1 - cover) + np.float32(ink) * cover


def skeleton(mask: np.ndarray) -> np.ndarray:
    """The middle lines of the strokes of a boolean [H, W] (Zhang and Suen 1984, CACM 27(3))."""
    mask = np.pad(mask, 1).astype(np.int8)
    changed = True
    while changed:
        changed = False
        for step in (0, 1):
            # The eight neighbours, clockwise from above.
            ring = [
                np.roll(mask, offset, (0, 1))
                for offset in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            north, east, south, west = ring[0::2]
            total = sum(ring)
            turns = sum((a == 0) & (b == 1) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
            bare = (north * east * south, east * south * west)
            if step:
                bare = (north * east * west, north * south * west)
            gone = (mask == 1) & (total >= 2) & (total <= 6) & (turns == 1)
            gone &= (bare[0] == 0) & (bare[1] == 0)
            mask[gone] = 0
            changed |= bool(gone.any())
    return mask[1:-1, 1:-1] == 1


def pen(digit: np.ndarray, width: float) -> np.ndarray:
    """The digit drawn again with a round pen, width in pixels of the 28x28: uint8 [140, 140].

    MNIST's strokes are 2.5 pixels wide on average.
    """
    zoom = 5
    large = Image.fromarray(digit).resize((28 * zoom, 28 * zoom), Image.Resampling.BICUBIC)
    page = Image.new("L", large.size)
    draw = ImageDraw.Draw(page)
    radius = width * zoom / 2
    for y, x in zip(*np.nonzero(skeleton(np.asarray(large) > 127)), strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(page)


def touching_pair(left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two digits, the right one moved left until their strokes touch: uint8 gray [H, W]."""
    covers = [place(digit, 1.5, size=(140, 140)) for digit in (left, right)]
    columns = [np.flatnonzero((cover > 0.5).any(axis=0)) for cover in covers]
    one, two = (c[:, k[0] : k[-1] + 1] for c, k in zip(covers, columns, strict=True))
    two = np.roll(two, int(rng.integers(-6, 7)), axis=0)
    gap = [
        (np.flatnonzero(a)[::-1], np.flatnonzero(b))
        for a, b in zip(one > 0.5, two > 0.5, strict=True)
    ]
    free = [one.shape[1] - 1 - a[0] + b[0] for a, b in gap if len(a) and len(b)]
    overlap = min(free, default=0) + 2
    page = np.zeros((180, one.shape[1] + two.shape[1] - overlap + 60), np.float32)
    page[20:160, 30 : 30 + one.shape[1]] = one
    start = 30 + one.shape[1] - overlap
    own = page[20:160, start : start + two.shape[1]]
    np.maximum(own, two, out=own)
    return paint(page)[..., 0].astype(np.uint8)


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    """Float or uint8 [H, W] or [H, W, 3 or 4], values 0..255, to the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(
        stream, format, **options
    )
    return stream.getvalue()
