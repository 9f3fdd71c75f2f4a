"""The network's optimizer, and what changes from step to step: learning rate and distortion."""

import torch
from network import build_network
from recipes import Recipe
from torch import nn


def build(recipe: Recipe, seed: int, device: torch.device) -> tuple[nn.Module, torch.optim.SGD]:
    """A network with the initial weights of this seed, and its optimizer."""
    torch.manual_seed(seed)
    network = build_network(recipe.channels).to(device, memory_format=torch.channels_last)
    return network, torch.optim.SGD(
        network.parameters(),
        lr=recipe.peak_learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """One cycle, linearly up and down (Smith and Topin 2018, "Super-Convergence")."""
    warm_up = recipe.warm_up * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return recipe.peak_learning_rate * share


def is_last(recipe: Recipe, step: int, steps: int) -> bool:
    """Whether a step is one of the last, in which the images are closer to MNIST's."""
    return step >= (1 - recipe.last_share) * steps


def distortion(recipe: Recipe, step: int, steps: int) -> float:
    """The strength of the augmentation: milder at the end (He et al. 2019, "Data Augmentation
    Revisited", section 4)."""
    return recipe.last_strength if is_last(recipe, step, steps) else 1.0


def drawn_digits(recipe: Recipe, step: int, steps: int) -> int:
    """How many drawn digits are added to the batch of a step."""
    return recipe.last_drawn_digits if is_last(recipe, step, steps) else recipe.drawn_digits
