"""Pictures without a digit: empty pages of every kind, and letters that resemble no digit.

EMPTY["hard shadow"](rng) returns the bytes of an upload. LETTERS are those that nobody takes for a
digit, in print or by hand; left out are B b D G g I i J j L l O o P p Q q S s U u y Z z and c C.
"""

import numpy as np
from gallery.papers import encode, light, noise, paint, texture
from gallery.scenes_found import finger, jpeg, shapes, turned
from PIL import Image

LETTERS = "AEFHKMNRTVWXYadefhkmnrtwx"
SIZE = 280, 240


def sheet(rng: np.random.Generator) -> np.ndarray:
    """Plain paper of one of three sizes, smooth to rough: float32 [H, W, 3]."""
    size = (SIZE, (120, 160), (480, 400))[rng.integers(3)]
    grain = rng.uniform(0.1, 1) * (texture(rng, size) - 225)
    return 225 + grain - rng.uniform(0, 30) + rng.uniform(-6, 6, 3)


def grid(scene: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = scene.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return y, x


def noisy(rng: np.random.Generator) -> bytes:
    """Only the noise of a camera or the grain of the paper, up to a standard deviation of 12."""
    scene = np.full((240, 280, 3), rng.uniform(30, 230), np.float32)
    grain = noise(rng, SIZE, int(rng.integers(1, 5)))[..., None]
    return encode(scene + rng.uniform(2, 12) * grain)


def shadow(rng: np.random.Generator, soft: bool) -> bytes:
    """A straight or round edge between light and shade: 2 to 6 pixels wide, or 30 to 90."""
    scene = sheet(rng)
    y, x = grid(scene)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.4, 0.4)
    if rng.random() < 0.4:
        along = np.hypot(x - np.cos(angle), y - np.sin(angle)) - rng.uniform(0.5, 1.1)
    width = rng.uniform(0.1, 0.3) if soft else rng.uniform(0.008, 0.02)
    shade = 1 / (1 + np.exp(-np.clip(along / width * 2, -50, 50)))
    return jpeg(scene * (1 - rng.uniform(0.25, 0.6) * shade)[..., None], rng)


def narrow_shadow(rng: np.random.Generator) -> bytes:
    """The shadow of a lamp's arm across the page, or of a hand or a head that reaches in."""
    scene = sheet(rng)
    y, x = grid(scene)
    angle = rng.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.5, 0.5)
    inside = rng.uniform(0.1, 0.3) - abs(across)
    if rng.random() < 0.5:
        along = y * np.cos(angle) - x * np.sin(angle)
        radius = rng.uniform(0.3, 0.6)
        inside = radius - np.hypot(across, np.maximum(rng.uniform(0, 0.6) - along, 0))
    shade = 1 / (1 + np.exp(-np.clip(inside / rng.uniform(0.01, 0.08) * 2, -50, 50)))
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


def folded(rng: np.random.Generator) -> bytes:
    """One or two folds: a thin line between two halves of slightly different brightness."""
    scene = sheet(rng)
    y, x = grid(scene)
    for angle in (rng.uniform(-0.2, 0.2) + np.pi / 2 * np.arange(2))[: rng.integers(1, 3)]:
        along = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.5, 0.5)
        crease = rng.choice([-1, 1]) * rng.uniform(0.08, 0.25) * np.exp(-((along / 0.012) ** 2))
        scene = scene * (1 + crease + rng.uniform(0.02, 0.08) * np.tanh(along / 0.03))[..., None]
    return jpeg(scene, rng)


def crumpled(rng: np.random.Generator) -> bytes:
    """Facets with creases between them."""
    scene = sheet(rng)
    y, x = grid(scene)
    points = rng.uniform(-1, 1, (int(rng.integers(6, 20)), 2))
    distances = np.stack([np.hypot(y - b, x - a) for a, b in points])
    facet = rng.uniform(0.82, 1.05, len(points))[distances.argmin(axis=0)]
    first, second = np.sort(distances, axis=0)[:2]
    crease = 1 - 0.15 * np.exp(-(((second - first) / 0.03) ** 2))
    return jpeg(scene * (facet * crease)[..., None], rng)


def table_edge(rng: np.random.Generator) -> bytes:
    """A sheet that ends within the picture; the table is darker, sometimes lighter."""
    scene = sheet(rng)
    y, x = grid(scene)
    angle = rng.uniform(-0.3, 0.3) + np.pi / 2 * rng.integers(4)
    along = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(0.2, 0.8)
    table = rng.uniform((40, 30, 20), (150, 120, 100))
    if rng.random() < 0.2:
        scene, table = scene - 110, np.full(3, 225)
    grain = 6 * noise(rng, scene.shape[1::-1], 6)[..., None]
    return jpeg(paint(np.float32(along > 0), table, scene - grain) + grain, rng)


def vignette(rng: np.random.Generator) -> bytes:
    """Dark towards the corners."""
    scene = sheet(rng)
    y, x = grid(scene)
    return jpeg(scene * (1 - rng.uniform(0.1, 0.35) * (x**2 + y**2))[..., None], rng)


def fingered(rng: np.random.Generator) -> bytes:
    """A finger or two at the border of a sheet."""
    scene = finger(sheet(rng), rng)
    return jpeg(finger(scene, rng) if rng.random() < 0.3 else scene, rng)


def gradient(rng: np.random.Generator) -> bytes:
    """Uneven light, from one side or from a lamp."""
    scene = sheet(rng)
    if rng.random() < 0.5:
        return jpeg(scene * light(rng, scene.shape[1::-1], rng.uniform(0.3, 0.9)), rng)
    y, x = grid(scene)
    middle = rng.uniform(-1, 1, 2)
    fall = 1 / (1 + rng.uniform(0.2, 1) * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2))
    return jpeg(scene * fall[..., None], rng)


def blocks(rng: np.random.Generator) -> bytes:
    """A gradient saved with a quality of 5 to 20, so that blocks of 8x8 pixels show."""
    scene = sheet(rng)
    scene = scene * light(rng, scene.shape[1::-1], rng.uniform(0.5, 1))
    return encode(scene, "JPEG", quality=int(rng.integers(5, 21)))


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


def small(rng: np.random.Generator) -> bytes:
    """A photo of paper in uneven light, shrunk to 28x28."""
    scene = sheet(rng)
    scene = scene * light(rng, scene.shape[1::-1], rng.uniform(0.5, 1))
    gray = Image.fromarray(np.uint8(np.clip(scene[..., 0], 0, 255))).resize((28, 28))
    return encode(np.asarray(gray, np.float32) + rng.normal(0, 2, (28, 28)))


EMPTY = {
    "noise": noisy,
    "soft shadow": lambda rng: shadow(rng, soft=True),
    "hard shadow": lambda rng: shadow(rng, soft=False),
    "narrow shadow": narrow_shadow,
    "ruled": lambda rng: lined(rng, columns=False),
    "squared": lambda rng: lined(rng, columns=True),
    "folded": folded,
    "crumpled": crumpled,
    "table's edge": table_edge,
    "vignette": vignette,
    "finger": fingered,
    "uneven light": gradient,
    "JPEG blocks": blocks,
    "stains and dust": stained,
    "28x28": small,
}
