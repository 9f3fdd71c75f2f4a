"""Pictures that stand in for Fashion-MNIST's: ten kinds of shapes, light on black."""

import numpy as np
from PIL import Image, ImageDraw

# Outlines on 28x28 pixels, in the order of Fashion-MNIST's classes, by which they are inspired.
OUTLINES = (
    "8,3 20,3 27,9 23,12 20,10 20,25 8,25 8,10 5,12 1,9",  # a shirt with short sleeves
    "9,2 19,2 21,26 15,26 14,8 13,26 7,26",  # trousers
    "8,3 20,3 26,22 22,23 20,10 20,25 8,25 8,10 6,23 2,22",  # long sleeves
    "11,2 17,2 16,10 22,26 6,26 12,10",  # a dress
    "8,3 13,3 14,12 15,3 20,3 27,26 15,26 14,14 13,26 1,26",  # an open coat
    "2,20 10,12 12,16 20,10 26,20 26,22 2,22",  # a sandal
    "4,4 24,4 24,24 4,24",  # a square
    "2,16 12,16 18,10 26,14 26,21 2,21",  # a low shoe
    "4,12 9,12 9,6 19,6 19,12 24,12 24,25 4,25",  # a bag
    "14,2 24,2 24,25 4,25 4,19 14,16",  # a boot
)


def draw_garments(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [count, 28, 28], in gray levels and places that vary, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = []
    for label in labels:
        points = np.array([point.split(",") for point in OUTLINES[label].split()], float)
        points = (points - 14) * rng.uniform(0.85, 1) + 14 + rng.uniform(-1, 1, 2)
        image = Image.new("L", (28, 28))
        pen = ImageDraw.Draw(image)
        pen.polygon([tuple(point) for point in points], fill=int(rng.integers(120, 256)))
        images.append(np.asarray(image))
    return np.stack(images), labels
