"""Pictures without a digit: empty pages of every kind, and letters that resemble no digit.

EMPTY["hard shadow"](rng) returns the bytes of an upload. LETTERS are those that nobody takes for a
digit, in print or by hand; left out are B b D G g I i J j L l O o P p Q q S s U u y Z z and c C.
"""

import numpy as np
from gallery.papers import (
    edge,
    encode,
    finger,
    grid,
    jpeg,
    light,
    noise,
    paint,
    shapes,
    shrunk,
    texture,
    turned,
)

LETTERS = "AEFHKMNRTVWXYadefhkmnrtwx"
SIZE = 280, 240


def sheet(rng: np.random.Generator) -> np.ndarray:
    """Plain paper of one of three sizes, smooth to rough: float32 [H, W, 3]."""
    size = (SIZE, (120, 160), (480, 400))[rng.integers(3)]
    grain = rng.uniform(0.1, 1) * (texture(rng, size) - 225)
    return 225 + grain - rng.uniform(0, 30) + rng.uniform(-6, 6, 3)


def lit_sheet(rng: np.random.Generator) -> np.ndarray:
    """Paper in light that falls to a half or less of it."""
    scene = sheet(rng)
    return scene * light(rng, scene.shape[1::-1], rng.uniform(0.5, 1))


def across(scene: np.ndarray, angle: float) -> np.ndarray:
    """The distance of each pixel from a line through the middle, 1 at the nearest side."""
    y, x = grid(scene.shape[1::-1])
    return x * np.cos(angle) + y * np.sin(angle)


def distance(scene: np.ndarray, x: float, y: float) -> np.ndarray:
    """The distance of each pixel from a point, whose x and y are -1 to 1."""
    down, right = grid(scene.shape[1::-1])
    return np.hypot(right - x, down - y)


def noisy(rng: np.random.Generator) -> bytes:
    """Only the noise of a camera or the grain of the paper, up to a standard deviation of 12."""
    scene = np.full((240, 280, 3), rng.uniform(30, 230), np.float32)
    grain = noise(rng, SIZE, int(rng.integers(1, 5)))[..., None]
    return encode(scene + rng.uniform(2, 12) * grain)


def shadow(rng: np.random.Generator, soft: bool) -> bytes:
    """A straight or round edge between light and shade: 2 to 6 pixels wide, or 30 to 90."""
    scene = sheet(rng)
    angle = rng.uniform(0, 2 * np.pi)
    along = across(scene, angle) - rng.uniform(-0.4, 0.4)
    if rng.random() < 0.4:
        along = distance(scene, np.cos(angle), np.sin(angle)) - rng.uniform(0.5, 1.1)
    width = rng.uniform(0.1, 0.3) if soft else rng.uniform(0.008, 0.02)
    shade = edge(along / width * 2)
    return jpeg(scene * (1 - rng.uniform(0.25, 0.6) * shade)[..., None], rng)


def narrow_shadow(rng: np.random.Generator) -> bytes:
    """The shadow of a lamp's arm across the page, or of a hand or a head that reaches in."""
    scene = sheet(rng)
    angle = rng.uniform(0, 2 * np.pi)
    aside = across(scene, angle) - rng.uniform(-0.5, 0.5)
    inside = rng.uniform(0.1, 0.3) - abs(aside)
    if rng.random() < 0.5:
        y, x = grid(scene.shape[1::-1])
        along = y * np.cos(angle) - x * np.sin(angle)
        radius = rng.uniform(0.3, 0.6)
        inside = radius - np.hypot(aside, np.maximum(rng.uniform(0, 0.6) - along, 0))
    shade = edge(inside / rng.uniform(0.01, 0.08) * 2)
    return jpeg(scene * (1 - rng.uniform(0.2, 0.55) * shade)[..., None], rng)


def lined(rng: np.random.Generator, columns: bool) -> bytes:
    """Ruled or squared paper, often tilted, in uneven light."""
    scene = sheet(rng)
    step, wide = int(rng.integers(16, 44)), int(rng.integers(1, 4))
    tint = rng.uniform(0.55, 0.9, 3)
    for start in range(int(rng.integers(step)), max(scene.shape), step):
        scene[start : start + wide] *= tint
        if columns:
            scene[:, start : start + wide] *= tint
    scene = turned(scene, rng.uniform(-8, 8) * (rng.random() < 0.6))
    return jpeg(scene * light(rng, scene.shape[1::-1], rng.uniform(0.6, 1)), rng)


def crumpled(rng: np.random.Generator) -> bytes:
    """Facets with creases between them."""
    scene = sheet(rng)
    points = rng.uniform(-1, 1, (int(rng.integers(6, 20)), 2))
    distances = np.stack([distance(scene, x, y) for x, y in points])
    facet = rng.uniform(0.82, 1.05, len(points))[distances.argmin(axis=0)]
    first, second = np.sort(distances, axis=0)[:2]
    crease = 1 - 0.15 * np.exp(-(((second - first) / 0.03) ** 2))
    return jpeg(scene * (facet * crease)[..., None], rng)


def fingered(rng: np.random.Generator) -> bytes:
    """A finger or two at the border of a sheet."""
    scene = finger(sheet(rng), rng)
    return jpeg(finger(scene, rng) if rng.random() < 0.3 else scene, rng)


def gradient(rng: np.random.Generator) -> bytes:
    """Uneven light, from one side or from a lamp."""
    scene = sheet(rng)
    if rng.random() < 0.5:
        return jpeg(scene * light(rng, scene.shape[1::-1], rng.uniform(0.3, 0.9)), rng)
    y, x = grid(scene.shape[1::-1])
    middle = rng.uniform(-1, 1, 2)
    fall = 1 / (1 + rng.uniform(0.2, 1) * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2))
    return jpeg(scene * fall[..., None], rng)


def blocks(rng: np.random.Generator) -> bytes:
    """A gradient saved with a quality of 5 to 20, so that blocks of 8x8 pixels show."""
    return encode(lit_sheet(rng), "JPEG", quality=int(rng.integers(5, 21)))


def stained(rng: np.random.Generator) -> bytes:
    """A part of a ring of coffee, or dust."""
    scene = sheet(rng)
    size = scene.shape[1::-1]
    x, y = rng.choice([0.1, 0.9], 2) * size
    radius = rng.uniform(0.4, 0.9) * min(size)
    kind = rng.integers(2)

    def stain(draw, scale) -> None:
        box = [scale * v for v in (x - radius, y - radius, x + radius, y + radius)]
        if kind:
            draw.ellipse(box, outline=200, width=int(scale * radius * 0.05))
        for _ in range(0 if kind else 25):
            a, b, r = *(rng.uniform(0, 1, 2) * size), rng.uniform(0.5, 3)
            draw.ellipse([scale * v for v in (a - r, b - r, a + r, b + r)], 180)

    return jpeg(paint(shapes(size, stain) * 0.5, (120, 85, 50), scene), rng)


EMPTY = {
    "noise": noisy,
    "soft shadow": lambda rng: shadow(rng, soft=True),
    "hard shadow": lambda rng: shadow(rng, soft=False),
    "narrow shadow": narrow_shadow,
    "ruled": lambda rng: lined(rng, columns=False),
    "squared": lambda rng: lined(rng, columns=True),
    "crumpled": crumpled,
    "finger": fingered,
    "uneven light": gradient,
    "JPEG blocks": blocks,
    "stains and dust": stained,
    "28x28": lambda rng: shrunk(lit_sheet(rng), rng),
}
