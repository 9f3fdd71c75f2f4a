"""Digits on paper and what surrounds them: a cell, a circle, a finger, a border, squares, a shadow.

SCENES["sudoku cell"](glyph, rng) returns the bytes of an upload; glyph is one of sources.py.
"""

import numpy as np
from gallery.papers import (
    PENS,
    edge,
    encode,
    finger,
    grid,
    jpeg,
    noise,
    page,
    paint,
    shapes,
    texture,
    turned,
)
from gallery.scenes_plain import around, inside
from gallery.sources import Glyph
from PIL import ExifTags, Image

PAGE = 280, 280


def sudoku_cell(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A cell of 40 to 100 pixels with remains of the grid on one to four sides."""
    side = int(rng.integers(40, 100))
    room = side - side // 10 * 2
    digit = inside(glyph.draw(side * rng.uniform(0.5, 0.75)), (room, room), rng)
    cover = np.pad(digit, side // 10)
    for turns in rng.permutation(4)[: rng.integers(1, 5)]:
        thick = int(rng.integers(1, max(2, side // 18)))
        start = int(rng.integers(0, 3))
        np.rot90(cover, turns)[start : start + thick] = rng.uniform(0.5, 1)
    return jpeg(turned(page(cover, rng, 20), rng.uniform(-2, 2)), rng)


def whiteboard(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A marker on a board with a glare and remains of what was wiped off."""
    size = 300, 260
    cover = inside(glyph.draw(rng.uniform(70, 170)), size, rng)
    wiped = np.clip(noise(rng, size, 30) - 0.6, 0, 1)[..., None]
    y, x = np.mgrid[0:260, 0:300]
    glare = np.exp(-((x - rng.uniform(0, 300)) ** 2 + (y - rng.uniform(0, 260)) ** 2) / 3000)
    board = np.float32([205, 210, 215]) - 14 * wiped + 40 * glare[..., None]
    return jpeg(page(cover, rng, PENS[rng.integers(4)], board), rng)


def school_paper(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Ruled paper with a red margin line, which the digit may touch; a digit of 1 to 3 lines."""
    size = 300, 240
    step, first = int(rng.integers(24, 44)), int(rng.integers(5, 30))
    paper = texture(rng, size) + np.zeros(3, np.float32)
    for line in range(first, size[1], step):
        paper[line : line + 2] *= (0.72, 0.82, 0.95)
    margin = int(rng.integers(30, 110))
    paper[:, margin : margin + 2] *= (0.95, 0.55, 0.58)
    cover = inside(glyph.draw(step * rng.uniform(1, 3)), size, rng)
    return jpeg(turned(page(cover, rng, PENS[rng.integers(2)], paper), rng.uniform(-4, 4)), rng)


def underlined(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A line below the digit, as 6 and 9 are marked, which does not touch it."""
    digit = glyph.draw(rng.uniform(50, 110))
    height, width = digit.shape
    gap, thick = int(height * rng.uniform(0.08, 0.25)), max(2, int(height * rng.uniform(0.03, 0.1)))
    below = np.zeros((gap + thick, width + 20), np.float32)
    below[gap:] = 1
    cover = np.vstack([around(digit, (0, 10, 0, 10)), below])
    return jpeg(page(around(cover, rng.integers(15, 60, 4)), rng), rng)


def circled(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """In a circle that is drawn by hand or printed, as a mark or a number in a list."""
    digit = glyph.draw(rng.uniform(40, 90))
    radius = np.hypot(*digit.shape) / 2 * rng.uniform(1.15, 1.5)
    side = int(2 * radius + 14)
    wide = rng.uniform(1.5, 5)
    angle = np.linspace(0, 2 * np.pi, 60) + rng.uniform(0, 6)
    wobble = radius * (1 + rng.uniform(0, 0.06) * np.sin(2 * angle + 1))
    x, y = side / 2 + wobble * np.cos(angle), side / 2 + wobble * np.sin(angle)

    def circle(draw, scale) -> None:
        points = list(zip(scale * x, scale * y, strict=True))
        draw.line(points, 255, int(scale * wide), joint="curve")

    cover = shapes((side, side), circle)
    middle = tuple(slice((side - own) // 2, (side - own) // 2 + own) for own in digit.shape)
    cover[middle] = np.maximum(cover[middle], digit)
    return jpeg(page(around(cover, rng.integers(5, 50, 4)), rng), rng)


def with_a_stop(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A full stop or a comma after the digit, as in a list or a sum of money."""
    height = rng.uniform(40, 110)
    digit = glyph.draw(height)
    dot, gap = height * rng.uniform(0.06, 0.12), height * rng.uniform(0.12, 0.25)
    x, y = digit.shape[1] + gap + dot, digit.shape[0] - dot
    size = int(x + 3 * dot), int(digit.shape[0] + 3 * dot)
    comma = rng.random() < 0.5

    def mark(draw, scale) -> None:
        draw.ellipse([scale * v for v in (x - dot, y - dot, x + dot, y + dot)], 255)
        if comma:
            points = [(x + dot, y), (x - dot / 2, y + 3 * dot), (x, y)]
            draw.polygon([(scale * a, scale * b) for a, b in points], 255)

    cover = shapes(size, mark)
    cover[: digit.shape[0], : digit.shape[1]] = digit
    return jpeg(page(around(cover, rng.integers(15, 60, 4)), rng), rng)


def phone_photo(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """360x480, tilted on a black table, darker in the corners, often with a finger at a side.

    Half of them are stored lying on their side, with the orientation in EXIF.
    """
    size = 360, 480
    cover = inside(glyph.draw(rng.uniform(110, 225)), (225, 300), rng)
    scene = page(around(cover, (90, 67, 90, 68)), rng)
    y, x = grid(size)
    scene = turned(scene, rng.uniform(-12, 12)) * (1 - 0.22 * (x**2 + y**2))[..., None]
    if rng.random() < 0.6:
        scene = finger(scene, rng)
    image = Image.fromarray(np.uint8(np.clip(scene, 0, 255)))
    tilt = rng.uniform(-0.0003, 0.0003, 2)
    image = image.transform(
        size, Image.Transform.PERSPECTIVE, (1, 0, 0, 0, 1, 0, *tilt), Image.Resampling.BICUBIC
    )
    scene = np.asarray(image, np.float32)
    if rng.random() < 0.5:
        return jpeg(scene, rng)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # Turn by 90 degrees clockwise to see it upright.
    return jpeg(np.rot90(scene), rng, exif=exif)


def scan(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A sheet on a scanner with the lid open: black along one or two sides."""
    size = 240, 300
    cover = inside(glyph.draw(rng.uniform(60, 140)), size, rng)
    scene = page(cover, rng, 30, 248)
    for side in rng.permutation(4)[: rng.integers(1, 3)]:
        wide = int(rng.integers(6, 30))
        top, right, bottom, left = (wide if side == each else 0 for each in range(4))
        pad = ((top, bottom), (left, right), (0, 0))
        scene = np.pad(scene, pad, constant_values=15)
    return encode(scene + rng.normal(0, 2, scene.shape), "JPEG", quality=80)


def on_page(glyph: Glyph, rng: np.random.Generator) -> np.ndarray:
    """Anywhere on a page of 280x280, 60 to 190 pixels long."""
    return inside(glyph.draw(rng.uniform(60, 190)), PAGE, rng)


def rotated(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Turned by 5 to 20 degrees."""
    scene = paint(inside(glyph.draw(rng.uniform(60, 150)), PAGE, rng))
    return encode(turned(scene, rng.uniform(5, 20) * rng.choice([-1, 1])))


def squared_paper(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Printed squares of 14 to 20 pixels, photographed at an angle of up to 10 degrees."""
    angle, step = np.deg2rad(rng.uniform(-10, 10)), rng.integers(14, 20)
    y, x = np.mgrid[0:280, 0:280] - 140
    lines = np.zeros((280, 280))
    for along in (y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)):
        offset = abs((along + rng.uniform(0, step)) % step - step / 2)
        lines = np.maximum(lines, np.clip(1.5 - offset, 0, 1))
    return encode(paint(on_page(glyph, rng), 40, paint(lines, (150, 180, 220), 245)))


def hard_shadow(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A shadow with an edge a few pixels wide across the middle."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-40, 40)
    y, x = np.mgrid[0:280, 0:280] - 140
    along = x * np.cos(angle) + y * np.sin(angle) - offset
    return encode(paint(on_page(glyph, rng)) * (0.5 + 0.5 * edge(along / 3))[..., None])


def faint(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A pencil on paper, or chalk on a board."""
    ink, darker = ((160, 0), (210, 170))[rng.integers(2)]
    return encode(paint(on_page(glyph, rng), ink, texture(rng, PAGE) - darker))


SCENES = {
    "sudoku cell": sudoku_cell,
    "whiteboard": whiteboard,
    "school paper": school_paper,
    "circled": circled,
    "underlined": underlined,
    "full stop or comma": with_a_stop,
    "phone photo": phone_photo,
    "scan with a black border": scan,
    "turned": rotated,
    "squared paper": squared_paper,
    "hard shadow": hard_shadow,
    "pencil or chalk": faint,
}
