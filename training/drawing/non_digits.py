"""Images that are not digits, in the same form as digits, to train and measure rejection.

Outlier exposure (Hendrycks, Mazeika, Dietterich 2019, Deep Anomaly Detection with Outlier Exposure,
section 3): train on some kinds with ten equal probabilities as the target, and measure on others.
"""

import numpy as np
from drawing.added_digits import add_frame, add_ring, draw_added_digits
from drawing.printed import draw_printed_letters
from drawing.strokes import SIDE, draw, render

# Templates as strokes.py reads them. No letter that can be taken for a digit: no O I l S Z B q.
TRAINING_SIGNS = (
    "66,0 4,0* 4,100* 66,100 | 4,48 54,48",  # E
    "66,0 4,0* 4,100 | 4,48 54,48",  # F
    "4,0 4,100 | 66,0 66,100 | 4,50 66,50",  # H
    "6,0 6,100 | 62,0 6,54* 66,100",  # K
    "0,100 8,0* 40,70* 72,0* 80,100",  # M
    "4,100 4,0* 64,100* 64,0",  # N
    "6,100 6,0* 50,4 58,28 44,50 6,52* 62,100",  # R
    "36,0 36,100 | 0,2 74,0",  # T
    "4,0 4,64 16,96 50,96 62,64 62,0",  # U
    "0,0 36,100* 72,0",  # V
    "0,0 24,100* 46,30* 68,100* 92,0",  # W
    "0,0 70,100 | 70,0 0,100",  # X
    "4,4* 76,4* 76,92* 4,92* 4,4",  # square
    "44,0* 88,84* 0,84* 44,0",  # triangle
    "0,50 100,50 | 50,0 50,100",  # cross
    "50,0* 78,96* 2,36* 98,36* 22,96* 50,0",  # star
    "0,50 100,50 | 66,22 100,50* 66,78",  # arrow
    "0,20 60,20 | 0,80 60,80",  # equals
    "10,0 10,100 | 50,0 50,100",  # two bars
    "20,0 10,100 | 60,0 50,100 | 0,32 76,32 | 0,68 76,68",  # hash
    "50,0* 98,38* 80,98* 20,98* 2,38* 50,0",  # pentagon
    "40,0* 80,50* 40,100* 0,50* 40,0",  # diamond
    "20,0* 60,0* 84,100* 0,100* 20,0",  # trapezoid
    "40,0* 64,44 72,76 40,98 8,76 16,44 40,0*",  # drop
    "0,50* 30,24 70,24 100,50* 70,76 30,76 0,50",  # lens
    "0,0* 0,96* 80,96* 80,0 | 40,0 40,96",  # comb
    "0,60 20,20 40,60 60,90 80,50",  # wave
    "0,80 20,10* 40,80* 60,10* 80,80",  # zigzag
    "4,24 14,4 44,0 62,20 50,42 30,56 28,74 | 28,96 28,100",  # question marks
    "2,20 30,0 60,14 56,36 30,52* 30,74 | 30,94 32,100",
    "20,0 4,14 20,30 36,16 20,0 | 76,0 4,100 | 64,66 48,82 64,98 80,84 64,66",  # percent
    "90,100 20,22 24,4 44,0 54,14 10,60 6,84 24,100 50,92 80,54",  # ampersand
    "2,30 30,64 | 64,30 20,100",  # y
)
SCRIBBLES = ((1, 10), (1, 14), (2, 6), (4, 4))  # strokes, and points in each
# Lower-case letters that resemble the trained capitals H, K, M and N.
RESEMBLING_SIGNS = (
    "6,0 6,100 | 6,66 28,46 50,56 54,100",  # h
    "6,0 6,100 | 50,40 6,70* 56,100",  # k
    "4,40 4,100 | 4,60 24,42 36,60 36,100 | 36,60 58,42 70,60 70,100",  # m
    "6,40 6,100 | 6,62 28,44 52,54 56,100",  # n
)
UNSEEN_SIGNS = (
    "0,100 0,70* 35,70* 35,35* 70,35* 70,0* 100,0",  # stairs
    "0,2 70,2 | 8,50 62,50 | 0,98 70,98",  # Xi
    "0,96 22,96* 6,50 22,8 56,8 72,50 56,96* 80,96",  # Omega
    "40,0 40,100 | 4,16 6,52 40,64 74,52 76,16",  # Psi
    "50,96* 4,44 10,8 36,6 50,28* 64,6 90,8 96,44 50,96",  # heart
    "50,50 58,42 64,54 50,68 32,54 40,26 70,24 84,58 56,92 16,80 6,34 40,2",  # spiral
    "2,10* 98,10* 98,70* 2,70* 2,10 | 2,10 50,44* 98,10",  # envelope
    "50,0 6,18 0,62 26,96 74,96 100,62 94,18 50,0 | 32,34 32,42 | 68,34 68,42 | 28,64 50,78 72,64",
    "10,50 40,90* 100,6",  # check mark
    "50,0 50,100 | 4,24 96,76 | 96,24 4,76",  # asterisk
    "0,90* 0,40* 50,0* 100,40* 100,90* 0,90",  # house
    "0,50 100,50 | 50,10 50,14 | 50,86 50,90",  # division
)


def draw_scribbles(strokes: int, turns: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Strokes through random points: `strokes` of them, each through `turns` points."""
    # The template only decides which points are joined. Its points are far apart, so that each
    # curve is divided into enough pieces.
    points = [f"{i},{150 * (i // strokes % 2)}" for i in range(strokes * turns)]
    template = " | ".join(" ".join(points[i::strokes]) for i in range(strokes))
    ink = rng.uniform(0, 1, (count, strokes * turns, 2)).astype(np.float32)
    return render(ink, template, rng)


def draw_waves(octaves: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random fields: coarse ones look like blots, fine ones like paper or cloth."""
    field = -rng.uniform(0, 1.2, (count, 1, 1)) * np.ones((SIDE, SIDE))
    for cells in octaves:
        coarse = rng.normal(size=(count, cells, cells))
        at = np.linspace(0, cells - 1, SIDE)
        mix = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells)))
        field += mix @ coarse @ mix.T
    sharpness = rng.uniform(0.3, 3, (count, 1, 1))
    return (255 * np.clip(0.5 + sharpness * field, 0, 1)).astype(np.uint8)


def draw_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Independent random pixels: gray or black and white, a few of them or all."""
    noise = rng.uniform(0, 255, (count, SIDE, SIDE))
    lit = rng.uniform(size=noise.shape) < rng.choice([0.02, 0.1, 0.5, 1], (count, 1, 1))
    noise[: count // 2] = 255
    return (noise * lit).astype(np.uint8)


def draw_flat(count: int, rng: np.random.Generator) -> np.ndarray:
    """An empty picture: black, white or gray, uniform or with a gradient."""
    low, high = rng.choice([0, 0, 40, 128, 255], (2, count, 1, 1))
    slope = np.linspace(0, 1, SIDE)[:, None] * np.ones(SIDE)
    slope = np.where(rng.uniform(size=(count, 1, 1)) < 0.5, slope, slope.T)
    slope = slope * (rng.uniform(size=(count, 1, 1)) < 0.5)
    return (low + (high - low) * slope).astype(np.uint8)


def draw_blobs(count: int, rng: np.random.Generator) -> np.ndarray:
    """A filled ellipse or box of random size and position."""
    grid = np.arange(SIDE)
    middle = rng.uniform(9, 19, (count, 2, 1))
    reach = np.abs(grid - middle) / rng.uniform(5, 10, (count, 2, 1))
    across, down = reach[:, 0, None, :], reach[:, 1, :, None]
    box = rng.uniform(size=(count, 1, 1)) < 0.5
    size = np.where(box, np.maximum(across, down), np.hypot(across, down))
    return (255 * np.clip(4 - 4 * size + 0.5, 0, 1)).astype(np.uint8)


def draw_patterns(count: int, rng: np.random.Generator) -> np.ndarray:
    """Checkers, stripes and rings of random period."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    period, phase = rng.uniform(0.6, 2.0, (count, 1, 1)), rng.uniform(0, 6, (count, 1, 1))
    radius = np.hypot(x - SIDE / 2, y - SIDE / 2)
    checker = np.sin(period * x + phase) * np.sin(period * y)
    stripes = np.sin(period * (x + np.tan(phase) * y))
    rings = np.sin(period * radius + phase)
    kind = rng.integers(3, size=(count, 1, 1))
    return (255 * (np.choose(kind, (checker, stripes, rings)) > 0)).astype(np.uint8)


def draw_framed(count: int, rng: np.random.Generator) -> np.ndarray:
    """Digits in a whole frame or a ring, too small to be read: uint8 [count, 28, 28]."""
    digits, _ = draw_added_digits(count, seed=int(rng.integers(2**31)))
    framed, ringed = np.array_split(digits, 2)
    return np.concatenate([add_frame(framed, rng, share=1), add_ring(ringed, rng)])


def draw_non_digits(count: int, seed: int, held_out: bool = False) -> np.ndarray:
    """Draw `count` images that are not digits: uint8 [count, 28, 28], white on black.

    held_out=True draws kinds that held_out=False never does, to measure on. The same arguments
    give the same images.
    """
    rng = np.random.default_rng([seed, held_out])
    if held_out:
        kinds = [(draw, RESEMBLING_SIGNS + UNSEEN_SIGNS)] * 6 + [(draw_patterns,)]
    else:
        kinds = [(draw, TRAINING_SIGNS)] * 7
        kinds += [(draw_scribbles, *scribble) for scribble in SCRIBBLES]
        kinds += [(draw_waves, (4,)), (draw_waves, (5, 14))]
        kinds += [(draw_noise,), (draw_flat,), (draw_blobs,)]
        kinds += [(draw_printed_letters,)] * 16 + [(draw_framed,)] * 3
    parts = np.array_split(np.arange(count), len(kinds))
    images = [kind(*of, len(part), rng) for (kind, *of), part in zip(kinds, parts, strict=True)]
    return rng.permutation(np.concatenate(images))


def draw_unseen_kinds(count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` images uint8 [count, 28, 28] of each kind of non-digit that is never trained on."""
    rng = np.random.default_rng(seed)
    return {
        "handwritten h, k, m and n, trained in print only": draw(RESEMBLING_SIGNS, count, rng),
        "letters and shapes unlike the trained ones": draw(UNSEEN_SIGNS, count, rng),
        "checkers, stripes and rings": draw_patterns(count, rng),
    }
