"""Evaluating published models: on MNIST, on a folder, two of them; the figures themselves."""

import re

import evaluate
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from idx_files import expect_archives, save
from PIL import Image
from tiny_model import model_bytes
from torchvision.datasets import MNIST


@pytest.fixture(autouse=True)
def few_non_digits(monkeypatch):
    monkeypatch.setattr(evaluate, "REJECTION_IMAGES", 20)


@pytest.fixture
def models(tmp_path):
    """Two model files: the first one reads lines as they are, the second one as 9 - digit."""
    paths = [tmp_path / "right.onnx", tmp_path / "wrong.onnx"]
    for path, reverse in zip(paths, (False, True), strict=True):
        path.write_bytes(model_bytes("aaaaaaaaaaaa", reverse=reverse))
    return [str(path) for path in paths]


def line_images(digits):
    """Pictures uint8 [N, 28, 28] that the first model reads as `digits`."""
    images = np.zeros((len(digits), 28, 28), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        image[[13 - digit, 14 + digit]] = 255
    return images


def run(*arguments):
    return CliRunner().invoke(evaluate.main, list(map(str, arguments)))


def save_images(folder, labels, shown):
    """folder/LABEL/NUMBER.png, a picture of the digit shown."""
    for number, (label, image) in enumerate(zip(labels, line_images(shown), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{number}.png")
    return folder


def test_a_folder_is_evaluated_by_digit(models, tmp_path):
    folder = save_images(tmp_path / "digits", [3, 3, 3, 3, 8], [3, 3, 3, 5, 8])
    result = run(models[0], folder, "--plots", tmp_path / "plots")
    assert result.exit_code == 0, result.output
    assert f"{models[0]}: accuracy 80.00% of 5 images" in result.output
    assert re.search(r"^ +3 +75\.00% +0 +0 +0 +3 +0 +1 ", result.output, re.MULTILINE)
    assert re.search(r"^ +8 +100\.00% ", result.output, re.MULTILINE)
    assert re.search(r"^ +0 +- ", result.output, re.MULTILINE), "no image of a 0"
    assert "checkers, stripes and rings" in result.output
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"confusion.png", "mistakes.png"}


def test_without_a_folder_the_test_images_of_mnist_are_evaluated(models, tmp_path, monkeypatch):
    labels = np.arange(20) % 10
    two_wrong = np.where(np.arange(20) < 2, 9 - labels, labels)
    arrays = (line_images(labels), labels, line_images(labels), two_wrong)
    save(tmp_path, expect_archives(MNIST, arrays, monkeypatch))
    result = run(models[0], "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "accuracy 90.00% of 20 images" in result.output


def test_two_models_are_compared_image_by_image(models, tmp_path):
    folder = save_images(tmp_path / "digits", [3, 4, 9, 1], [3, 4, 0, 2])
    result = run(models[0], folder, "--compare", models[1])
    assert result.exit_code == 0, result.output
    assert f"{models[1]}: accuracy 25.00% of 4 images" in result.output
    assert re.search(r"only the first model is right: +2\n", result.output)
    assert re.search(r"only the second model is right: +1\n", result.output)
    assert re.search(r"both are wrong: +1\n", result.output)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "3" / "x.png").write_bytes(b"x"), "x.png is not a readable"),
        (lambda folder: Image.new("L", (14, 28)).save(folder / "3" / "x.png"), "not 28x28"),
        (lambda folder: [p.unlink() for p in folder.glob("*/*")], "has no images named DIGIT"),
    ],
    ids=["no image", "other size", "empty"],
)
def test_a_folder_that_cannot_be_evaluated_is_a_wrong_setting(damage, words, models, tmp_path):
    folder = save_images(tmp_path / "digits", [3], [3])
    damage(folder)
    result = run(models[0], folder)
    assert result.exit_code == 2
    assert words in result.output


def test_the_temperature_undoes_a_known_scale():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 10, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert evaluate.fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.03)
    assert evaluate.expected_calibration_error(logits.softmax(1), labels) < 0.01
    assert evaluate.expected_calibration_error((logits * 3).softmax(1), labels) > 0.1


def test_too_much_and_too_little_confidence_do_not_cancel_out():
    confidence = torch.tensor([0.6] * 10 + [0.9] * 10)  # of the 0, right in 10 and in 3 cases
    probabilities = torch.zeros(20, 10)
    probabilities[:, 0], probabilities[:, 1] = confidence, 1 - confidence
    labels = torch.tensor([0] * 13 + [1] * 7)
    error = evaluate.expected_calibration_error(probabilities, labels)
    assert error == pytest.approx((0.4 + 0.6) / 2)
