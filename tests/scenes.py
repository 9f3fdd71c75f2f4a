"""Uploads of a digit under the conditions of conditions.py: CONDITIONS["lined paper"](digit, rng).

A condition is a function of a uint8 [28, 28] digit (white on black) and a numpy Generator that
returns the bytes of an upload. Except for the 28x28 ones, the digit is drawn again with smooth
outlines on a page of 280x280.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Condition = Callable[[np.ndarray, np.random.Generator], bytes]
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


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    """Float or uint8 [H, W] or [H, W, 3 or 4], values 0..255, to the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(
        stream, format, **options
    )
    return stream.getvalue()


def noise(rng: np.random.Generator, size: tuple[int, int], grain: int) -> np.ndarray:
    """Smooth noise of standard deviation about 1, its blobs about grain pixels wide."""
    width, height = size
    small = rng.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) * 1.2


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


def light(rng: np.random.Generator, size: tuple[int, int], darkest: float) -> np.ndarray:
    """Light falling from 1 on one side to darkest on the other: float32 [height, width, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    along = (x * np.cos(angle) + y * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return (1 - (1 - darkest) * (along + 1) / 2).astype(np.float32)[..., None]


def hard_shadow(rng: np.random.Generator) -> np.ndarray:
    """A shadow with an edge a few pixels wide across the middle: float32 [PAGE, PAGE, 1]."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-40, 40)
    y, x = np.mgrid[0:PAGE, 0:PAGE] - PAGE / 2
    along = x * np.cos(angle) + y * np.sin(angle) - offset
    return (0.5 + 0.5 / (1 + np.exp(-along / 3))).astype(np.float32)[..., None]


def texture(rng: np.random.Generator, size: tuple[int, int] = (PAGE, PAGE)) -> np.ndarray:
    """Paper seen close: grain of two sizes and blotches, float32 [height, width, 1] around 225."""
    grain = 5 * noise(rng, size, 1) + 4 * noise(rng, size, 3) + 5 * noise(rng, size, 40)
    return 225 + grain[..., None]


def ruled(rng: np.random.Generator, columns: bool) -> np.ndarray:
    """Paper with printed blue lines, and columns on squared paper: float32 [PAGE, PAGE, 3]."""
    page = np.full((PAGE, PAGE, 3), 245, np.float32)
    step = int(rng.integers(14, 20) if columns else rng.integers(26, 40))
    for start in range(int(rng.integers(step)), PAGE, step):
        page[start : start + 2] = (150, 180, 220)
        if columns:
            page[:, start : start + 2] = (150, 180, 220)
    return page


def photo(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """A phone's picture of a sheet: perspective, a turn, shade, texture, blur, noise, JPEG."""
    size = (640, 480)
    half = 130 * rng.uniform(0.7, 1.3)
    square = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) + rng.normal(0, 0.1 * half, 2)
    corners = square * (1 + rng.uniform(-0.15, 0.15, (4, 1)))
    angle = np.deg2rad(rng.uniform(-10, 10))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    cover = place(digit, size=size, corners=corners @ turn + np.array(size) / 2)
    scene = paint(cover, (50, 50, 70), texture(rng, size)) * light(rng, size, 0.5)
    image = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)), np.float32)
    return encode(blurred + rng.normal(0, 4, blurred.shape), "JPEG", quality=70)


def transparent(digit: np.ndarray, level: int) -> bytes:
    """Strokes of one level on nothing, as drawing programs save them."""
    cover = place(digit)
    picture = np.full((PAGE, PAGE, 4), level, np.float32)
    picture[..., 3] = cover * 255
    return encode(picture)


INKS = ((30, 60, 180), (200, 30, 40), (20, 130, 60), (240, 130, 20), (120, 40, 160), (90, 60, 40))


def colour(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """Blue, red, green, orange, purple or brown ink on white."""
    return encode(paint(place(digit), INKS[rng.integers(len(INKS))]))


def anywhere(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """Of scale 1, anywhere on the page."""
    return encode(paint(place(digit, 1, tuple(rng.uniform(-90, 90, 2)))))


def tight_crop(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """The digit's bounding box without a margin, enlarged, light on dark or dark on light."""
    rows, columns = (np.flatnonzero((digit > 127).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return encode(digit)
    box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = box.shape[1] * 10, box.shape[0] * 10
    large = np.asarray(Image.fromarray(box).resize(size, Image.Resampling.BICUBIC))
    return encode(large if rng.random() < 0.5 else 255 - large)


def tilted_rulings(rng: np.random.Generator, columns: bool, least=1, most=10) -> np.ndarray:
    """Lined or squared paper photographed at an angle of 1 to 10 degrees: [PAGE, PAGE, 3]."""
    angle = np.deg2rad(rng.uniform(least, most) * rng.choice([-1, 1]))
    step = rng.integers(14, 20) if columns else rng.integers(26, 40)
    y, x = np.mgrid[0:PAGE, 0:PAGE] - PAGE / 2
    axes = [y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)]
    cover = np.zeros((PAGE, PAGE))
    for along in axes[: 1 + columns]:
        offset = abs((along + rng.uniform(0, step)) % step - step / 2)
        cover = np.maximum(cover, np.clip(1.5 - offset, 0, 1))
    return paint(cover, (150, 180, 220), 245)


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


def shadowed_page(rng: np.random.Generator) -> bytes:
    """An empty page with paper texture and a hard shadow."""
    return encode(texture(rng) * np.ones(3) * hard_shadow(rng))


CONDITIONS: dict[str, Condition] = {
    "plain 28x28": lambda digit, rng: encode(digit),
    "plain 28x28, JPEG": lambda digit, rng: encode(digit, "JPEG", quality=95),
    "dark on light 28x28": lambda digit, rng: encode(255 - digit),
    "light on dark": lambda digit, rng: encode(paint(place(digit), 255, 0)),
    "dark on light": lambda digit, rng: encode(paint(place(digit))),
    "black on transparent": lambda digit, rng: transparent(digit, 0),
    "white on transparent": lambda digit, rng: transparent(digit, 255),
    "scale 0.3": lambda digit, rng: encode(paint(place(digit, 0.3))),
    "scale 0.5": lambda digit, rng: encode(paint(place(digit, 0.5))),
    "scale 1": lambda digit, rng: encode(paint(place(digit, 1))),
    "scale 3": lambda digit, rng: encode(paint(place(digit, 3))),
    "shift": anywhere,
    "rotation -20": lambda digit, rng: encode(paint(place(digit, degrees=-20))),
    "rotation -10": lambda digit, rng: encode(paint(place(digit, degrees=-10))),
    "rotation 10": lambda digit, rng: encode(paint(place(digit, degrees=10))),
    "rotation 20": lambda digit, rng: encode(paint(place(digit, degrees=20))),
    "thin pen": lambda digit, rng: encode(paint(place(pen(digit, 0.7)))),
    "thick pen": lambda digit, rng: encode(paint(place(pen(digit, 4)))),
    "paper texture": lambda digit, rng: encode(paint(place(digit), 60, texture(rng))),
    "lined paper": lambda digit, rng: encode(paint(place(digit), 40, ruled(rng, False))),
    "squared paper": lambda digit, rng: encode(paint(place(digit), 40, ruled(rng, True))),
    "shadow gradient": lambda digit, rng: encode(
        paint(place(digit)) * light(rng, (PAGE, PAGE), 0.3)
    ),
    "hard shadow": lambda digit, rng: encode(paint(place(digit)) * hard_shadow(rng)),
    "pencil": lambda digit, rng: encode(paint(place(digit), 160, texture(rng))),
    "chalk": lambda digit, rng: encode(paint(place(digit), 210, texture(rng) - 170)),
    "JPEG quality 20": lambda digit, rng: encode(paint(place(digit)), "JPEG", quality=20),
    "colour ink": colour,
    "photo": photo,
    "tight crop": tight_crop,
    "tilted lined paper": lambda digit, rng: encode(
        paint(place(digit), 40, tilted_rulings(rng, False))
    ),
    "tilted squared paper": lambda digit, rng: encode(
        paint(place(digit), 40, tilted_rulings(rng, True))
    ),
}
