"""The sets of pictures of bench_reading.py: a source, what is done to it, and how many pictures.

    for upload, label in pictures("28x28, off centre, print", "decide"): ...

A set gives the same pictures on every run with the same fonts and packages. label is None on a
picture without a digit.
"""

import zlib
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from gallery import scenes_found, scenes_plain, scenes_things, sources
from gallery.doodles import doodles
from gallery.handwriting import encode, touching_pair
from gallery.scenes import CONDITIONS
from gallery.scenes_empty import EMPTY, LETTERS
from gallery.sources import Glyph

HALVES = ("decide", "report")
Source = Callable[[str], list[Glyph]]
Scene = Callable[[Glyph, np.random.Generator], bytes | None]


def hands(half: str) -> list[Glyph]:
    """Handwriting of fonts and of MNIST, in about equal parts, so that anybody can repeat it."""
    return [*sources.handwritten(half), *sources.mnist_digits(half, 100)]


def anybody(half: str) -> list[Glyph]:
    """Print and handwriting in about equal parts."""
    return [*sources.printed(half), *sources.handwritten(half), *sources.mnist_digits(half, 200)]


def printed_letters(half: str) -> list[Glyph]:
    return sources.printed(half, LETTERS)


def handwritten_letters(half: str) -> list[Glyph]:
    """Without the d, which is a capital D, and resembles a 0, in fonts that have only capitals."""
    return sources.handwritten(half, LETTERS.replace("d", ""))


# Whose digits are in the sets of scenes_found.py and scenes_things.py, where not anybody's.
SCENE_SOURCES: dict[str, Source] = {
    "whiteboard": hands,
    "sticky note": hands,
    "school paper": hands,
    "phone photo": hands,
    "out of a number": sources.printed,
    "meter wheel": sources.printed,
    "seven segments": sources.segments,
    "dot matrix": sources.printed,
    "neon": hands,
    "patterned card": sources.printed,
    "embossed": sources.printed,
    "outlined": sources.printed,
    "halftone": sources.printed,
    "corner of a canvas": hands,
}
plain = scenes_plain.SCENES
DIGIT_SETS: dict[str, tuple[Source, Scene, int]] = {
    "handwriting fonts": (sources.handwriting_fonts, plain["as it is"], 390),
    "handwriting fonts of Debian": (sources.handwritten, plain["as it is"], 240),
    "print, plain": (sources.printed, plain["plain"], 400),
    "print, cut out": (sources.printed, plain["cut out"], 400),
    "print, screenshot": (sources.printed, plain["screenshot"], 200),
    "28x28, off centre, print": (sources.printed, plain["28x28, off centre"], 300),
    "28x28, off centre, fonts": (hands, plain["28x28, off centre"], 300),
    "28x28, off centre, MNIST": (sources.mnist_digits, plain["28x28, off centre"], 300),
    "28x28, gray photo": (anybody, plain["28x28, gray photo"], 300),
    "cropped, print": (sources.printed, plain["cropped"], 300),
    "cropped, handwriting": (hands, plain["cropped"], 300),
    "scikit-learn's, enlarged": (sources.sklearn_digits, plain["enlarged"], 300),
    "8x8 and 16x16, enlarged": (anybody, plain["enlarged"], 300),
} | {
    name: (SCENE_SOURCES.get(name, anybody), scene, 200)
    for name, scene in (scenes_found.SCENES | scenes_things.SCENES).items()
}
EMPTY_SETS = {f"empty: {name}": scene for name, scene in EMPTY.items()}
EMPTY_COUNT = 40
OTHER_SETS: dict[str, tuple[Source, Scene, int]] = {
    "letters, print": (printed_letters, plain["plain"], 300),
    "letters, handwriting": (handwritten_letters, plain["as it is"], 200),
    "doodles": (doodles, plain["as it is"], 90),
}
# MNIST's digits under each condition; without MNIST, drawn ones.
CONDITION_SETS = {f"condition: {name}": make for name, make in CONDITIONS.items()}
CONDITION_COUNT = 1000
NAMES = [*DIGIT_SETS, *EMPTY_SETS, *OTHER_SETS, *CONDITION_SETS]


def touching_pairs(half: str, count: int = 150) -> Iterator[tuple[bytes, list[int]]]:
    """Uploads with two of MNIST's digits whose strokes touch, and their labels."""
    rng = np.random.default_rng(0)
    images, labels = sources.load_digits(CONDITION_COUNT, half)
    for left, right in rng.integers(0, len(labels), (count, 2)):
        page = touching_pair(images[left], images[right], rng)
        yield encode(page), [int(labels[left]), int(labels[right])]


def pictures(name: str, half: str) -> Iterator[tuple[bytes, int | None]]:
    """The uploads of a set and their labels. Raises MissingSource."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), HALVES.index(half)])
    if name in CONDITION_SETS:
        digits = sources.load_digits(CONDITION_COUNT, half)
        for image, label in zip(*digits, strict=True):
            yield CONDITION_SETS[name](image, rng), int(label)
        return
    if name in EMPTY_SETS:
        for _ in range(EMPTY_COUNT):
            yield EMPTY_SETS[name](rng), None
        return
    source, scene, count = (DIGIT_SETS | OTHER_SETS)[name]
    for glyph in islice(sources.endless(source(half), rng), count):
        upload = scene(glyph, rng)
        if upload is not None:
            yield upload, int(glyph.character) if name in DIGIT_SETS else None
