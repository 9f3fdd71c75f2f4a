"""Printed digits and letters, from the fonts that matplotlib ships, in MNIST's form."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from drawing.strokes import to_mnist
from PIL import Image, ImageDraw, ImageFont

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)
SIGN_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique")
# What can be taken for a digit is left out: B b C g I i J j l O o P p Q q S s Z z and others.
LATIN = "AEFGHKMNRTUVWXYacdefhkmnrtuvwxy??%%&&#@+=*"
OTHER_SIGNS = "ΓΔΛΞΠΣΦΨΩηκμπψωДЖИЙКЛМПФЦШЩЫЮЯжишщюя<>£¥¶±÷≠≤≥∞√∫∑∏∆→←⇒♥♣★⌂✓"
CANVAS, SIZE = 64, 48  # pixels: the picture, and the size of the font
HOLLOW = 0.1  # share of the characters of which only the outline is drawn


@cache
def load_font(name: str) -> ImageFont.FreeTypeFont:
    """A font of matplotlib's by its file name."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", SIZE)


def draw_sign(sign: str, font: str, rng: np.random.Generator) -> np.ndarray:
    """One character, thick or hollow, stretched and slanted at random: uint8 [CANVAS, CANVAS]."""
    picture = Image.new("L", (CANVAS, CANVAS))
    middle = CANVAS / 2, CANVAS / 2
    hollow = rng.uniform() < HOLLOW
    edge = int(rng.choice([1, 2, 3, 4] if hollow else [0, 0, 0, 1, 2, 3]))
    draw = ImageDraw.Draw(picture)
    fill = 0 if hollow else 255
    draw.text(middle, sign, fill, load_font(font), "mm", stroke_width=edge, stroke_fill=255)
    width, slant = np.exp(rng.normal(0, 0.15)), rng.normal(0.05, 0.12)
    shift = middle[0] * (1 - 1 / width) - slant * middle[1]
    affine = (1 / width, slant, shift, 0, 1, 0)
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, affine, bilinear))


def draw_printed_digits(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Printed digits uint8 [count, 28, 28] and their labels int64 [count]."""
    labels = rng.integers(10, size=count)
    return draw_signs([str(label) for label in labels], rng), labels


def draw_printed_letters(count: int, rng: np.random.Generator) -> np.ndarray:
    """Printed letters and signs that resemble no digit: uint8 [count, 28, 28]."""
    return draw_signs(rng.choice(list(LATIN * 3 + OTHER_SIGNS), count), rng)


def draw_signs(signs: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Characters in random fonts: uint8 [N, 28, 28]."""
    pictures = np.empty((len(signs), CANVAS, CANVAS), np.uint8)
    for picture, sign in zip(pictures, signs, strict=True):
        picture[:] = draw_sign(sign, rng.choice(SIGN_FONTS if sign in OTHER_SIGNS else FONTS), rng)
    return to_mnist(pictures)
