"""Digits as MNIST hardly has them: other ways of writing, print, wear; to add to each batch."""

import numpy as np
from drawing.printed import draw_printed_digits
from drawing.strokes import SIDE, draw
from drawing.synthetic import DIGITS
from drawing.wear import add_frame, add_line, add_specks, coarsen, crop

# Templates as strokes.py reads them.
OTHER_STYLES = {
    0: (
        "40,0 12,12 0,50 12,88 40,100 68,88 80,50 68,12 40,0 | 66,18 14,82",  # slash
        "36,0 8,14 0,50 8,86 36,100 64,86 72,50 64,14 36,0 | 78,0 -4,100",
        "36,0 8,14 0,50 8,86 36,100 64,86 72,50 64,14 36,0 | 36,46 36,54",  # dot
        "0,0* 52,0* 52,100* 0,100* 0,0",  # segments
    ),
    1: (
        "10,24 40,0* 40,100",  # flag
        "0,34 40,0* 40,100",
        "-8,50 40,0* 38,100",
        "0,24 32,0* 32,100",
        "2,30 24,18 40,0* 40,100",
        "16,12 38,0* 38,100 | 10,100 66,100",  # flag and base
        "2,30 40,0* 40,100 | 8,100 72,100",
        "14,10 30,8 40,0* 40,100 | 14,100 66,100",
        "14,4 40,0* 40,100 | 14,100 66,100",
    ),
    2: (
        "6,24 30,0 58,10 58,36 4,100* 68,100",  # flat base
        "0,0 52,0* 52,50* 0,50* 0,100* 52,100",
    ),
    3: (
        "8,8 40,0 60,20 40,44 26,52 30,42 46,46 66,70 48,98 4,92",  # loop
        "6,10 34,0 60,22 34,46* 66,72 34,100 2,88",
        "0,0 52,0* 52,100* 0,100 | 8,50 52,50",
    ),
    4: (
        "56,100 56,0* 0,68* 78,68",  # closed
        "50,100 50,0* 0,72* 70,72",
        "10,0 4,54* 72,54 | 56,0 56,100",  # open
        "26,0 2,60* 74,60 | 48,34 48,100",
        "0,0 0,50* 52,50 | 52,0 52,100",
    ),
    5: (
        "64,0 12,0* 8,44* 36,34 64,52 64,82 34,100 0,88",
        "52,0 0,0* 0,50* 52,50* 52,100* 0,100",
    ),
    6: (
        "50,0 8,56 4,78 30,100 60,78 34,54 8,68",  # straight
        "60,12 38,0 8,24 2,62 14,94 40,100 64,78 52,50 26,46 4,70",  # curled
        "52,0 0,0* 0,100* 52,100* 52,50* 0,50",
        "0,0 0,100* 52,100* 52,50* 0,50",
    ),
    7: (
        "2,4 64,4* 28,100 | 12,54 62,46",  # crossed
        "4,16 4,2* 64,2* 26,100 | 20,50 64,50",
        "4,18 4,0* 64,0* 26,100",
        "0,0 62,0* 36,44 26,100",
        "0,0 52,0* 52,100",
        "0,34 0,0* 52,0* 52,100",
    ),
    8: (
        "34,46 8,24 34,0 60,24 34,46 4,74 34,100 64,74 34,46",
        "0,0* 52,0* 52,100* 0,100* 0,0 | 0,50 52,50",
    ),
    9: (
        "60,30 34,48 4,28 30,0 58,24 54,44 18,100",  # straight
        "60,30 36,50 4,32 30,0 58,14 62,44 50,86 26,100 4,86",  # curled
        "54,4 30,0 4,26 28,48 54,26 54,4* 54,100",
        "52,50 0,50* 0,0* 52,0* 52,100* 0,100",
        "52,50 0,50* 0,0* 52,0* 52,100",
    ),
}


def draw_added_digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits uint8 [count, 28, 28] in MNIST's form and their labels int64 [count].

    A third in MNIST's styles, a third in others, a third printed; half of all are worn. A tenth are
    1s in other styles: MNIST's have neither flag nor base, and those of most fonts have both.
    """
    rng = np.random.default_rng([seed, 2])
    labels, kind = rng.integers(10, size=count), rng.integers(3, size=count)
    ones = rng.uniform(size=count) < 0.1
    labels[ones], kind[ones] = 1, 1
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for digit in range(10):
        for number, styles in enumerate((DIGITS, OTHER_STYLES)):
            places = (labels == digit) & (kind == number)
            images[places] = draw(styles[digit], places.sum(), rng)
    images[kind == 2], labels[kind == 2] = draw_printed_digits((kind == 2).sum(), rng)
    worn = rng.permutation(count)[: count // 2]
    changes = (coarsen, crop, add_specks, add_frame, add_line)
    for change, part in zip(changes, np.array_split(worn, len(changes)), strict=True):
        if change in (add_frame, add_line):
            part = part[labels[part] != 1]  # With a line, a 1 looks like a 7, a T or a cross.
        images[part] = change(images[part], rng)
    return images, labels
