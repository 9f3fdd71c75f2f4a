"""The recipes that --recipe selects: everything that decides the weights, except data and seed."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """The network, the optimisation and the augmentation of a training run.

    All fields are part of a checkpoint's identity and of the published model's metadata.
    """

    channels: tuple[int, int, int] = (32, 32, 48)  # first layer, other layers at 12x12, at 6x6
    epochs: int = 4
    batch: int = 128
    peak_learning_rate: float = 0.5
    warm_up: float = 0.25  # share of all steps
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.02
    drawn_digits: int = 32  # added to every batch
    non_digits: int = 40  # added to every batch
    # The largest distortions of a digit; see augment.py.
    rotation: float = 15  # degrees
    shear: float = 0.2
    scale: float = 0.12
    shift: float = 2  # pixels
    elastic: float = 0.8  # pixels, standard deviation of a control point
    noise: float = 12  # of 255
    last_share: float = 0.25  # share of all steps, to which the following apply
    last_strength: float = 0.6  # of the distortions of the shape, 1 in the steps before
    last_drawn_digits: int = 16  # instead of drawn_digits


RECIPES = {
    "default": Recipe(),
    "patient": Recipe(channels=(48, 48, 80), epochs=16),
}
