"""A digit under one hard condition: turned, on squared paper, in a shadow, faint, transparent.

SCENES["hard shadow"](glyph, rng) returns the bytes of an upload; glyph is one of sources.py.
"""

import numpy as np
from gallery.papers import encode, light, paint, texture
from gallery.scenes_found import turned
from gallery.scenes_plain import inside
from gallery.sources import Glyph

SIZE = 280, 280


def on_page(glyph: Glyph, rng: np.random.Generator) -> np.ndarray:
    return inside(glyph.draw(rng.uniform(60, 190)), SIZE, rng)


def rotated(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Turned by 5 to 20 degrees."""
    page = paint(inside(glyph.draw(rng.uniform(60, 150)), SIZE, rng))
    return encode(turned(page, rng.uniform(5, 20) * rng.choice([-1, 1])))


def squared_paper(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Printed squares of 14 to 20 pixels, photographed at an angle of up to 10 degrees."""
    angle, step = np.deg2rad(rng.uniform(-10, 10)), rng.integers(14, 20)
    y, x = np.mgrid[0:280, 0:280] - 140
    lines = np.zeros((280, 280))
    for along in (y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)):
        offset = abs((along + rng.uniform(0, step)) % step - step / 2)
        lines = np.maximum(lines, np.clip(1.5 - offset, 0, 1))
    return encode(paint(on_page(glyph, rng), 40, paint(lines, (150, 180, 220), 245)))


def uneven_light(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Light that falls to 30 % across the page."""
    return encode(paint(on_page(glyph, rng)) * light(rng, SIZE, 0.3))


def hard_shadow(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A shadow with an edge a few pixels wide across the middle."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-40, 40)
    y, x = np.mgrid[0:280, 0:280] - 140
    along = x * np.cos(angle) + y * np.sin(angle) - offset
    return encode(paint(on_page(glyph, rng)) * (0.5 + 0.5 / (1 + np.exp(-along / 3)))[..., None])


def faint(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A pencil on paper, or chalk on a board."""
    ink, darker = ((160, 0), (210, 170))[rng.integers(2)]
    return encode(paint(on_page(glyph, rng), ink, texture(rng, SIZE) - darker))


def transparent(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Black or white strokes on nothing, as drawing programs save them."""
    picture = np.full((280, 280, 4), 255 * rng.integers(2), np.float32)
    picture[..., 3] = on_page(glyph, rng) * 255
    return encode(picture)


def strongly_compressed(glyph: Glyph, rng: np.random.Generator) -> bytes:
    return encode(paint(on_page(glyph, rng)), "JPEG", quality=20)


SCENES = {
    "turned": rotated,
    "squared paper": squared_paper,
    "light from a side": uneven_light,
    "hard shadow": hard_shadow,
    "pencil or chalk": faint,
    "transparent": transparent,
    "JPEG of quality 20": strongly_compressed,
}
