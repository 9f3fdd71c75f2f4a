"""Digits on paper and what surrounds them: a cell, a note, a form, a circle, a finger, a border.

SCENES["sudoku cell"](glyph, rng) returns the bytes of an upload; glyph is one of sources.py.
"""

import numpy as np
from gallery.papers import encode, light, noise, paint, texture
from gallery.scenes_plain import around, blurred, inside
from gallery.sources import Glyph
from PIL import ExifTags, Image, ImageDraw

PENS = ((25, 25, 30), (30, 50, 150), (190, 30, 40), (20, 110, 60), (70, 70, 75))


def page(cover: np.ndarray, rng: np.random.Generator, ink=None, paper=None) -> np.ndarray:
    """A photo of a pen's strokes on paper, of any size and light: float32 [H, W, 3]."""
    size = cover.shape[::-1]
    ink = PENS[rng.integers(len(PENS))] if ink is None else ink
    paper = texture(rng, size) if paper is None else paper
    return paint(cover, ink, paper) * light(rng, size, rng.uniform(0.7, 1))


def jpeg(scene: np.ndarray, rng: np.random.Generator, **options) -> bytes:
    """As a camera saves it: a little blur and noise, quality 60 to 95."""
    scene = blurred(scene, rng.uniform(0.2, 1))
    scene = scene + rng.normal(0, rng.uniform(1, 4), (*scene.shape[:2], 1))
    return encode(scene, "JPEG", quality=int(rng.integers(60, 96)), **options)


def turned(scene: np.ndarray, degrees: float) -> np.ndarray:
    """Float32 [H, W, 3] turned about its middle; what comes in is a copy of the border."""
    wide = np.pad(scene, ((40, 40), (40, 40), (0, 0)), mode="edge")
    image = Image.fromarray(np.uint8(np.clip(wide, 0, 255)))
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC), np.float32)[40:-40, 40:-40]


def shapes(size: tuple[int, int], draw) -> np.ndarray:
    """What draw(ImageDraw, scale) draws, with smooth edges: float32 [H, W] in 0..1."""
    scale = 4
    image = Image.new("L", (size[0] * scale, size[1] * scale))
    draw(ImageDraw.Draw(image), scale)
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / 255


def sudoku_cell(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A cell of 40 to 100 pixels with remains of the grid on one to four sides."""
    side = int(rng.integers(40, 100))
    room = side - side // 10 * 2
    digit = inside(glyph.draw(side * rng.uniform(0.5, 0.75)), (room, room), rng)
    cover = np.pad(digit, side // 10)
    for edge in rng.permutation(4)[: rng.integers(1, 5)]:
        thick = int(rng.integers(1, max(2, side // 18)))
        start = int(rng.integers(0, 3))
        np.rot90(cover, edge)[start : start + thick] = rng.uniform(0.5, 1)
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


def sticky_note(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A coloured note, slightly turned, on a table that is darker or lighter."""
    size = 260, 240
    notes = ((250, 235, 110), (250, 160, 190), (160, 225, 140), (140, 205, 240))
    note = np.float32(notes[rng.integers(4)])
    table = rng.uniform(30, 120, 3) if rng.random() < 0.6 else rng.uniform(225, 250, 3)
    edge = shapes(size, lambda draw, s: draw.rectangle((35 * s, 30 * s, 225 * s, 215 * s), 255))
    paper = paint(edge, note, table + 6 * noise(rng, size, 8)[..., None])
    cover = np.zeros(size[::-1], np.float32)
    cover[45:200, 50:210] = inside(glyph.draw(rng.uniform(60, 120)), (160, 155), rng)
    return jpeg(turned(page(cover, rng, PENS[rng.integers(4)], paper), rng.uniform(-8, 8)), rng)


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


def form_field(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A digit in a box, printed or drawn, with some margin around the box."""
    width, height = (int(side) for side in rng.integers((60, 80), (110, 140)))
    digit = inside(glyph.draw(min(width, height) * rng.uniform(0.55, 0.9)), (width, height), rng)
    line = int(rng.integers(1, 5))
    boxed = np.pad(np.pad(digit, 2), line, constant_values=rng.uniform(0.5, 1))
    return jpeg(turned(page(around(boxed, rng.integers(5, 40, 4)), rng), rng.uniform(-3, 3)), rng)


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
    top, left = ((side - own) // 2 for own in digit.shape)
    own = cover[top : top + digit.shape[0], left : left + digit.shape[1]]
    np.maximum(own, digit, out=own)
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
    y, x = np.mgrid[-1:1:480j, -1:1:360j]
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


def finger(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A finger that is out of focus reaches in from the middle of a side."""
    height, width = scene.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    along, across = ((x, y), (-x, y), (y, x), (-y, x))[rng.integers(4)]
    distance = ((along - 1.1) / 0.35) ** 2 + ((across - rng.uniform(-0.7, 0.7)) / 0.25) ** 2
    cover = 1 / (1 + np.exp((np.sqrt(distance) - 1) * 20))
    return paint(np.float32(cover), (190, 130, 105), scene)


def scan(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A sheet on a scanner with the lid open: black along one or two sides."""
    size = 240, 300
    cover = inside(glyph.draw(rng.uniform(60, 140)), size, rng)
    scene = page(cover, rng, 30, 248)
    for side in rng.permutation(4)[: rng.integers(1, 3)]:
        wide = int(rng.integers(6, 30))
        margins = [wide if side == each else 0 for each in range(4)]
        top, right, bottom, left = margins
        pad = ((top, bottom), (left, right), (0, 0))
        scene = np.pad(scene, pad, constant_values=15)
    return encode(scene + rng.normal(0, 2, scene.shape), "JPEG", quality=80)


SCENES = {
    "sudoku cell": sudoku_cell,
    "whiteboard": whiteboard,
    "sticky note": sticky_note,
    "school paper": school_paper,
    "form field": form_field,
    "circled": circled,
    "underlined": underlined,
    "full stop or comma": with_a_stop,
    "phone photo": phone_photo,
    "scan with a black border": scan,
}
