"""Evaluating published models: on MNIST, on a folder, two of them, and the model card."""

import json
import re

import evaluate
import mnist
import model_card
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from conftest import ROOT, idx
from PIL import Image
from tiny_model import model_bytes

CARD = ROOT / "docs" / "model-card.md"


@pytest.fixture(autouse=True)
def few_non_digits(monkeypatch):
    monkeypatch.setattr(evaluate, "REJECTION_IMAGES", 20)


@pytest.fixture
def models(tmp_path):
    """Two model files: the first one reads bands as they are, the second one as 9 - digit."""
    paths = [tmp_path / "right.onnx", tmp_path / "wrong.onnx"]
    for path, reverse in zip(paths, (False, True), strict=True):
        path.write_bytes(model_bytes("aaaaaaaaaaaa", reverse=reverse))
    return [str(path) for path in paths]


def band_images(digits):
    """Pictures uint8 [N, 28, 28] that the first model reads as `digits`."""
    images = np.zeros((len(digits), 28, 28), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        image[4 + 2 * digit : 6 + 2 * digit] = 255
    return images


def run(command, *arguments, **environment):
    return CliRunner().invoke(command, [str(word) for word in arguments], env=environment)


def save_images(folder, labels, shown):
    """folder/LABEL/NUMBER.png, a picture of the digit shown."""
    for number, (label, image) in enumerate(zip(labels, band_images(shown), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{number}.png")
    return folder


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """Archives in MNIST's format; two of their 20 test images have a wrong label."""
    labels = np.arange(20) % 10
    test_labels = np.where(np.arange(20) < 2, 9 - labels, labels)
    arrays = (band_images(labels), labels, band_images(labels), test_labels)
    contents = [idx(array) for array in arrays]
    for name, content in zip(mnist.ARCHIVES, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    checksums = dict(zip(mnist.ARCHIVES, map(mnist.md5, contents), strict=True))
    monkeypatch.setattr(mnist, "ARCHIVES", checksums)
    return tmp_path


def test_a_folder_is_evaluated_by_digit(models, tmp_path):
    folder = save_images(tmp_path / "digits", [3, 3, 3, 3, 8], [3, 3, 3, 5, 8])
    result = run(evaluate.main, models[0], folder)
    assert result.exit_code == 0, result.output
    assert f"{models[0]}: accuracy 80.00% of 5 images" in result.output
    assert re.search(r"^ +3 +75\.00% +0 +0 +0 +3 +0 +1 ", result.output, re.MULTILINE)
    assert re.search(r"^ +8 +100\.00% ", result.output, re.MULTILINE)
    assert re.search(r"^ +0 +- ", result.output, re.MULTILINE), "no image of a 0"
    assert "checkers, stripes and rings" in result.output


def test_without_a_folder_the_test_images_of_mnist_are_evaluated(models, data_dir):
    result = run(evaluate.main, models[0], "--data-dir", data_dir)
    assert result.exit_code == 0, result.output
    assert "accuracy 90.00% of 20 images" in result.output


def test_two_models_are_compared_image_by_image(models, tmp_path):
    folder = save_images(tmp_path / "digits", [3, 4, 9, 1], [3, 4, 0, 2])
    result = run(evaluate.main, models[0], folder, "--compare", models[1])
    assert result.exit_code == 0, result.output
    assert f"{models[1]}: accuracy 25.00% of 4 images" in result.output
    assert re.search(r"only the first model is right: +2\n", result.output)
    assert re.search(r"only the second model is right: +1\n", result.output)
    assert re.search(r"both are wrong: +1\n", result.output)


def test_plots_are_written_where_they_are_wanted(models, tmp_path):
    folder = save_images(tmp_path / "digits", [3, 3], [3, 4])
    assert run(evaluate.main, models[0], folder, "--plots", tmp_path / "plots").exit_code == 0
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"confusion.png", "mistakes.png"}


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
    result = run(evaluate.main, models[0], folder)
    assert result.exit_code == 2
    assert words in result.output


def test_without_mnist_the_exit_code_is_that_of_training(models, tmp_path):
    result = run(evaluate.main, models[0], "--data-dir", tmp_path, MNIST_MIRROR="my-server/mnist")
    assert result.exit_code == 2
    assert "evaluate: MNIST_MIRROR" in result.output


def test_the_model_card_command_writes_figures_and_plots(data_dir, tmp_path):
    model = onnx.load_from_string(model_bytes("aaaaaaaaaaaa"))
    recipe = {"name": "default", "epochs": 4, "seed": 7}
    metadata = {"model_version": "abcabcabcabc", "dataset": "mnist", "parameters": "58218"}
    metadata |= {"recipe": json.dumps(recipe)}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "model.onnx")
    line = {"epoch": 1, "held_out_accuracy": 0.9, "loss": 1.0, "learning_rate": 0.1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    card = tmp_path / "docs" / "model-card.md"
    card.parent.mkdir()
    card.write_text(CARD.read_text())
    flags = ("--card", card, "--data-dir", data_dir)
    result = run(model_card.main, tmp_path / "model.onnx", *flags)
    assert result.exit_code == 0, result.output
    text = card.read_text()
    assert "| accuracy on the held-out images | 100.00% |" in text
    assert "| accuracy on the test images | 90.00% of 20 |" in text
    assert form(text) == form(CARD.read_text()), "docs/model-card.md: run make model-card"
    assert re.findall(r"\(img/(\w+).png\)", text) == ["confusion", "curves"]
    assert {path.name for path in (card.parent / "img").iterdir()} == {
        "curves.png",
        "confusion.png",
    }


def test_a_model_that_training_has_not_published_has_no_card(models):
    result = run(model_card.main, models[0])
    assert result.exit_code == 2
    assert "was not published by train.py" in result.output


def form(card):
    """The generated part of a model card without plots, with every figure and name replaced."""
    block = card.partition(model_card.BEGIN)[2].partition(model_card.END)[0]
    block = re.sub(r"\n!\[.*\n", "", block)
    known = re.sub(r"\| model \| \w{12} \|", "| model | VERSION |", block)
    known = re.sub(r"(recipe \|) \w+,", r"\1 NAME,", known)
    return re.sub(r"[\d.,]+", "N", known)
