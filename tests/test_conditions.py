"""Accuracy under each condition, on synthetic digits always, on MNIST's test images where given.

The floors are the lowest that was measured (29 of 30 synthetic digits, 97 of 100 of MNIST's, with
the briefly trained models of conftest.py) less two standard deviations. `make bench` prints all.
"""

import numpy as np
import pytest
from conditions import CONDITIONS, accuracy, load_digits, normalised
from drawing.synthetic import draw_digits

COUNT, MNIST_COUNT = 30, 100


@pytest.fixture(scope="module")
def synthetic_digits():
    return draw_digits(COUNT, seed=77)


@pytest.mark.parametrize("name", CONDITIONS)
def test_synthetic_digits_are_read_under_each_condition(name, model_file, synthetic_digits):
    images, labels = synthetic_digits
    assert accuracy(model_file, normalised(name, images), labels) >= 0.9


@pytest.mark.parametrize("name", CONDITIONS)
def test_mnists_test_images_are_read_under_each_condition(name, mnist_model_file, mnist_dir):
    _, images, labels = load_digits(mnist_dir, MNIST_COUNT)
    assert accuracy(mnist_model_file, normalised(name, images), labels) >= 0.94


def test_the_path_of_a_plain_28x28_upload_loses_nothing(synthetic_digits):
    images, _ = synthetic_digits
    assert np.array_equal(normalised("plain 28x28", images), images)
    assert np.array_equal(normalised("dark on light 28x28", images), images)
