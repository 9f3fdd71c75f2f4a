"""The network, its recipes and the augmentation."""

import augment
import numpy as np
import pytest
import torch
from drawing.synthetic import draw_digits
from model import RECIPES, build_network, learning_rate, normalise, schedule


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_network_has_at_most_300_000_parameters(name):
    network = build_network(RECIPES[name].channels)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 300_000


def test_pixels_are_normalised_with_the_mean_and_deviation_of_mnist():
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[1] = 255
    black, white = normalise(images).unbind()
    assert black.unique().item() == pytest.approx(-0.1307 / 0.3081)
    assert white.unique().item() == pytest.approx((1 - 0.1307) / 0.3081)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    recipe, steps = RECIPES["default"], 100
    rates = [learning_rate(recipe, step, steps) for step in range(steps)]
    peak = round(recipe.warm_up * steps)
    assert max(rates) == rates[peak] == recipe.peak_learning_rate
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] < recipe.peak_learning_rate / 50


def test_at_the_end_the_distortions_are_milder_and_fewer_drawn_digits_are_added():
    recipe = RECIPES["default"]
    first, last = (1.0, recipe.drawn_digits), (recipe.last_strength, recipe.last_drawn_digits)
    assert [schedule(recipe, step, 100) for step in range(100)] == [first] * 75 + [last] * 25
    assert all(one > other for one, other in zip(first, last, strict=True))


def test_augmented_digits_are_valid_images_and_all_differ():
    images = torch.from_numpy(np.repeat(draw_digits(1, seed=0)[0], 50, axis=0))
    torch.manual_seed(0)
    first = augment.augment(images, RECIPES["default"])
    assert first.shape == (50, 28, 28)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 255
    assert len({picture.numpy().tobytes() for picture in first}) == 50
    torch.manual_seed(0)
    assert torch.equal(first, augment.augment(images, RECIPES["default"]))


def test_garments_are_mirrored_and_shifted_and_nothing_else():
    images = torch.zeros(200, 28, 28, dtype=torch.uint8)
    images[:, 10:20, 5:9] = 200
    recipe = RECIPES["garments"]._replace(shift=0)
    augmented = augment.augment(images, recipe).round().to(torch.uint8)
    kept = (augmented == images).flatten(1).all(dim=1)
    mirrored = (augmented == images.flip(2)).flatten(1).all(dim=1)
    assert torch.equal(kept, ~mirrored)
    assert 60 < mirrored.sum() < 140
