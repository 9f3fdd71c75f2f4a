"""Digits on things: displays, wheels, cards, signs, cloth, screens, and drawn with a mouse.

SCENES["meter wheel"](glyph, rng) returns the bytes of an upload; glyph is one of sources.py.
"""

import numpy as np
from gallery.papers import blurred, encode, jpeg, noise, page, paint, texture
from gallery.scenes_plain import around, inside, two_colours
from gallery.sources import Glyph, resized
from PIL import Image, ImageFilter


def meter_wheel(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Light on dark, out of focus, with a part of the digit above or below."""
    height = rng.uniform(30, 80)
    cover = glyph.draw(height)
    sides = int(height * rng.uniform(0.15, 0.4))
    gap, piece = int(height * rng.uniform(0.2, 0.35)), int(height * rng.uniform(0.05, 0.25))
    # What is seen of a neighbour: the lower part of the digit above, or the upper part of the next.
    if rng.random() < 0.5:
        cover = np.vstack([np.pad(cover[-piece:], ((0, gap), (0, 0))), cover])
        cover = around(cover, (0, sides, gap, sides))
    else:
        cover = np.vstack([cover, np.pad(cover[:piece], ((gap, 0), (0, 0)))])
        cover = around(cover, (gap, sides, 0, sides))
    dark = rng.uniform(20, 60, 3) if rng.random() < 0.7 else (150, 30, 30)
    scene = page(cover, rng, rng.uniform(200, 250), dark)
    return jpeg(blurred(scene, height * rng.uniform(0, 0.025)), rng)


def display(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Seven segments: red, green or blue light, or an LCD; a third with a reflection."""
    cover = around(glyph.draw(rng.uniform(50, 140)), rng.integers(10, 50, 4))
    if rng.random() < 0.5:
        scene = paint(cover, rng.uniform(20, 60), rng.uniform((150, 165, 130), (180, 190, 160)))
        return jpeg(reflection(scene, rng), rng)
    colour = np.float32([(255, 50, 40), (70, 255, 90), (90, 170, 255)][rng.integers(3)])
    glow = blurred(paint(cover, colour, 0), 5) * 0.5
    return jpeg(reflection(np.maximum(paint(cover, colour, 12), glow), rng), rng)


def reflection(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In a third of the cases, a light patch across the glass."""
    if rng.random() < 0.67:
        return scene
    height, width = scene.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    band = np.exp(-(((x + y - rng.uniform(0, width + height)) / 25) ** 2))
    return scene + (rng.uniform(25, 60) * band)[..., None]


def out_of_a_number(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Cut out of a longer number, with parts of its neighbours on one or both sides."""
    height = rng.uniform(24, 70)
    cover = glyph.draw(height)
    gap, part = max(2, int(height * rng.uniform(0.1, 0.2))), int(height * rng.uniform(0.04, 0.14))
    left, right = cover[:, -part:], cover[:, :part]
    space = np.zeros((len(cover), gap), np.float32)
    sides = rng.integers(1, 4)
    before = [left, space] if sides & 1 else [space]
    after = [space, right] if sides & 2 else [space]
    cover = around(np.hstack([*before, cover, *after]), (gap, 0, gap, 0))
    ink, paper = two_colours(rng)
    return jpeg(page(cover, rng, ink, paper), rng)


def embossed(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Pressed into a bank card: a bright and a dark edge, the face a little brighter."""
    cover = around(glyph.draw(rng.uniform(45, 110)), rng.integers(8, 25, 4))
    high = blurred(paint(cover, 255, 0), max(cover.shape) * 0.012)[..., 0] / 255
    step = max(1, round(max(cover.shape) * 0.02))
    edge = np.roll(high, step, (0, 1)) - np.roll(high, -step, (0, 1))
    card = (
        rng.uniform((40, 40, 40), (150, 150, 170)) + 3 * noise(rng, cover.shape[::-1], 2)[..., None]
    )
    face = rng.uniform(20, 60) * high
    return jpeg(card + (face - 70 * edge)[..., None], rng)


def outlined(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Only the outline, as on a poster or a jersey."""
    cover = around(glyph.draw(rng.uniform(60, 140)), rng.integers(12, 40, 4))
    wide = 2 * round(max(cover.shape) * rng.uniform(0.012, 0.02)) + 1
    image = Image.fromarray(np.uint8(cover * 255))
    outer = np.asarray(image.filter(ImageFilter.MaxFilter(wide)), np.float32) / 255
    return jpeg(page(outer - cover, rng, *two_colours(rng)), rng)


def canvas_corner(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Drawn with a mouse in the corner of a large canvas: no gray levels, black or white paper."""
    side = int(rng.integers(200, 500))
    cover = glyph.draw(side * rng.uniform(0.1, 0.3)) > 0.4
    top, left = (int(gap) for gap in rng.integers(3, 20, 2))
    free = [side - own for own in cover.shape]
    corner = np.pad(cover, ((top, free[0] - top), (left, free[1] - left)))
    if rng.random() < 0.5:
        corner = np.roll(corner, free[0] - 2 * top, axis=0)
    if rng.random() < 0.5:
        corner = np.roll(corner, free[1] - 2 * left, axis=1)
    return encode(corner * 255.0 if rng.random() < 0.5 else 255.0 - corner * 255.0)


def busy_texture(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """On wood, cloth or stone, whose grain is weaker than the ink; light on dark as well."""
    size = 220, 220
    y, x = np.mgrid[0:220, 0:220]
    wood = np.sin(x / rng.uniform(2, 6) + 2 * noise(rng, size, 40))
    cloth = np.sin(x * 1.1) + np.sin(y * 1.1)
    grain = (wood, cloth, noise(rng, size, 2) + noise(rng, size, 7))[rng.integers(3)]
    colour = rng.uniform((150, 130, 100), (220, 205, 190))
    paper = colour + rng.uniform(5, 14) * np.float32(grain)[..., None]
    ink = rng.uniform(10, 50, 3)
    if rng.random() < 0.4:
        paper, ink = 255 - paper, 255 - ink
    cover = inside(glyph.draw(rng.uniform(70, 150)), size, rng)
    return jpeg(page(cover, rng, ink, paper), rng)


def dot_matrix(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A digit of 9 to 13 rows of round dots, light on dark or printed."""
    fine = glyph.draw(8 * rng.integers(9, 14))
    dots = np.pad(resized(fine, 1 / 8, Image.Resampling.BOX) > 0.35, 1)
    step = int(rng.integers(6, 12))
    y, x = np.mgrid[0:step, 0:step] - (step - 1) / 2
    dot = np.clip(step * rng.uniform(0.38, 0.5) - np.hypot(y, x) + 0.5, 0, 1)
    cover = np.float32(np.kron(dots, dot))
    if rng.random() < 0.5:
        return jpeg(paint(cover, 40, texture(rng, cover.shape[::-1])), rng)
    return jpeg(paint(cover, (255, 170, 40), (25, 20, 20)), rng)


def neon(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A thin bright tube with a wide glow on a dark wall."""
    cover = around(glyph.draw(rng.uniform(80, 160)), rng.integers(20, 60, 4))
    colours = ((255, 60, 120), (60, 200, 255), (255, 200, 60), (120, 255, 120))
    tube = paint(cover, colours[rng.integers(4)], 0)
    wall = 25 + 6 * noise(rng, cover.shape[::-1], 3)[..., None]
    return jpeg(np.maximum(tube, wall + 0.6 * blurred(tube, 12) + 0.3 * blurred(tube, 4)), rng)


def coarse(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A far photo: 16 to 28 pixels, out of focus, enlarged by a messenger."""
    cover = inside(glyph.draw(rng.uniform(16, 28)), (60, 60), rng)
    small = blurred(page(cover, rng, 30), rng.uniform(0.4, 0.9))[..., 0] / 255
    large = resized(np.float32(small), 4, Image.Resampling.BICUBIC) * 255
    return encode(large, "JPEG", quality=70)


SCENES = {
    "out of a number": out_of_a_number,
    "meter wheel": meter_wheel,
    "seven segments": display,
    "dot matrix": dot_matrix,
    "neon": neon,
    "embossed": embossed,
    "outlined": outlined,
    "busy texture": busy_texture,
    "corner of a canvas": canvas_corner,
    "far photo": coarse,
}
