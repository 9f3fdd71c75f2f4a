"""Uploads of one of MNIST's digits under many conditions: CONDITIONS["lined paper"](digit, rng).

A condition is a function of a uint8 [28, 28] digit (white on black) and a numpy Generator that
returns the bytes of an upload. Except for the 28x28 ones, the digit is drawn again with smooth
outlines on a page of 280x280.
"""

from collections.abc import Callable

import numpy as np
from gallery.handwriting import PAGE, encode, paint, pen, place
from gallery.papers import hard_shadow, light, ruled, texture, tilted_rulings
from PIL import Image, ImageFilter

Condition = Callable[[np.ndarray, np.random.Generator], bytes]


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
