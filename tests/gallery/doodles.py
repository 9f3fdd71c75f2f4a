"""Small drawings that are no digits: a star, a house, a heart, a face, an arrow, a tree.

doodles("decide") returns them as glyphs of sources.py; the two halves have different drawings.
"""

from functools import partial

import numpy as np
from gallery.sources import Glyph, crop
from PIL import Image, ImageDraw

CIRCLE = [(50 + 50 * np.cos(angle), 50 + 50 * np.sin(angle)) for angle in np.linspace(0, 6.4, 33)]
EYES = [[(32, 35), (34, 37)], [(66, 35), (68, 37)]]
MOUTH = [(25, 62), (38, 75), (62, 75), (75, 62)]
HEART = [(50, 95), (5, 45), (5, 20), (25, 5), (50, 28), (75, 5), (95, 20), (95, 45), (50, 95)]
# Strokes on a square of 100, x and y, from the upper left corner.
DOODLES = {
    "decide": {
        "star": [[(20, 100), (50, 0), (80, 100), (0, 38), (100, 38), (20, 100)]],
        "house": [
            [(0, 100), (0, 45), (50, 0), (100, 45), (100, 100), (0, 100), (0, 45), (100, 45)]
        ],
        "face": [CIRCLE, *EYES, MOUTH],
        "hash": [
            [(30, 0), (20, 100)],
            [(75, 0), (65, 100)],
            [(0, 32), (100, 28)],
            [(0, 70), (98, 66)],
        ],
        "arrow": [[(0, 50), (100, 50)], [(70, 20), (100, 50), (70, 80)]],
    },
    "report": {
        "heart": [HEART],
        "tree": [
            [(50, 100), (50, 0)],
            [(15, 35), (50, 0), (85, 35)],
            [(5, 75), (50, 30), (95, 75)],
        ],
        "envelope": [[(0, 20), (100, 20), (100, 85), (0, 85), (0, 20), (50, 60), (100, 20)]],
        "asterisk": [[(50, 0), (50, 100)], [(7, 25), (93, 75)], [(7, 75), (93, 25)]],
        "window": [
            [(0, 0), (100, 0), (100, 100), (0, 100), (0, 0)],
            [(50, 0), (50, 100)],
            [(0, 50), (100, 50)],
        ],
    },
}


def doodles(half: str) -> list[Glyph]:
    return [
        Glyph(name, partial(_draw, strokes, pen, slant))
        for name, strokes in DOODLES[half].items()
        for pen in (3, 6, 10)
        for slant in (-0.2, 0, 0.2)
    ]


def _draw(strokes: list, pen: float, slant: float, size: float) -> np.ndarray:
    """The strokes with a round pen, a share of the size in percent, and its other side narrower."""
    scale = 4 * size / 140
    page = Image.new("L", (round(4 * size),) * 2)
    draw = ImageDraw.Draw(page)
    for stroke in strokes:
        points = [(scale * (20 + x + slant * (50 - y) * 0.8), scale * (20 + y)) for x, y in stroke]
        draw.line(points, 255, max(1, round(scale * pen)), joint="curve")
        for x, y in points:
            half = scale * pen / 2
            draw.ellipse((x - half, y - half, x + half, y + half), 255)
    return crop(np.asarray(page.reduce(4), np.float32) / 255)
