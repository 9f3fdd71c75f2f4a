"""docs/your-own-model.md: garments from a mirror to the answers, and what must not be mixed."""

import json
import re

import dataset
import evaluate
import numpy as np
import pytest
import train
from app import create_app
from click.testing import CliRunner
from idx_files import expect_archives, mirror
from model import RECIPES
from PIL import Image, ImageDraw, ImageOps
from programs import ROOT
from publish import published_metadata
from tiny_model import encoded, model_bytes, post, two_lines
from torchvision.datasets import FashionMNIST
from training_runs import TRAINING_VARIABLES

DOCUMENT = (ROOT / "docs" / "your-own-model.md").read_text()
GARMENTS = dataset.GARMENTS
# Shapes on 28x28 pixels, in the order of Fashion-MNIST's classes, by which they are inspired.
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


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder into which the training has downloaded small garments instead of Fashion-MNIST."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def garment_model(tmp_path_factory, data_dir):
    """The model that train.py publishes after it has downloaded small garments from a mirror."""
    folder = tmp_path_factory.mktemp("garments")
    arrays = (*draw_garments(1480, seed=0), *draw_garments(100, seed=1))
    with pytest.MonkeyPatch.context() as patch:
        for name in TRAINING_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("MNIST_MIRROR", "http://127.0.0.1:1")
        patch.setattr(dataset, "HELD_OUT", 200)
        flags = ["--dataset", "fashion-mnist", "--data-dir", str(data_dir), "--epochs", "10"]
        with mirror(expect_archives(FashionMNIST, arrays, patch)) as server:
            patch.setenv("FASHION_MNIST_MIRROR", server.url)
            with pytest.raises(SystemExit) as exited:
                train.main([*flags, "--output-dir", str(folder)], "train.py")
    assert exited.value.code == 0
    return folder / "model.onnx"


def test_the_model_says_what_it_is_and_the_documentation_lists_every_field(garment_model):
    metadata = published_metadata(garment_model)
    assert (metadata["dataset"], metadata["reading"]) == ("fashion-mnist", "whole")
    assert tuple(json.loads(metadata["classes"])) == GARMENTS == tuple(FashionMNIST.classes)
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE)
    documented = [field for row in rows for field in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted({*metadata, "corrections"})


def test_the_program_of_the_documentation_makes_a_model_that_is_served(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "mine.onnx").write_bytes(model_bytes(None))
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(program)
    client = create_app(tmp_path / "artifacts" / "model.onnx").test_client()
    assert post(client, two_lines(1)).json == {"prediction": 1, "label": "one"}


def test_pictures_of_any_size_and_polarity_are_answered_as_their_pixels_are(garment_model):
    client = create_app(garment_model).test_client()
    images, labels = draw_garments(20, seed=2)
    content = {"name": "image", "datatype": "UINT8", "shape": [20, 28, 28]}
    tensor = content | {"data": images.ravel().tolist()}
    response = client.post("/v2/models/mnist/infer", json={"inputs": [tensor]}).json
    rows = np.reshape(response["outputs"][0]["data"], (20, 10))
    right = 0
    for image, label, row in zip(images, labels, rows, strict=True):
        picture = Image.fromarray(image)
        large = picture.resize((560, 280), Image.Resampling.NEAREST)
        files = [encoded(each) for each in (picture, large, ImageOps.invert(large))]
        for answer in post(client, *files, query="?details=1").json["predictions"]:
            np.testing.assert_allclose(answer["probabilities"], row, atol=1e-5)
            assert answer["label"] == GARMENTS[answer["prediction"]]
        right += answer["prediction"] == label
    assert right >= 17, "the training has passed its minimum accuracy of 85 %"
    assert client.get("/v2/models/mnist").json["parameters"] == {"classes": list(GARMENTS)}


def test_the_evaluation_uses_the_test_images_of_the_models_dataset(garment_model, data_dir):
    command = [str(garment_model), "--data-dir", str(data_dir)]
    result = CliRunner().invoke(evaluate.main, command)
    assert result.exit_code == 0, result.output
    assert "of 100 images" in result.output
    assert re.search(r"^ +9 .* Ankle boot$", result.output, re.MULTILINE)
    assert "non-digits" not in result.output


def test_a_recipe_that_does_not_fit_the_dataset_is_a_wrong_setting(main, capsys):
    for name, recipe in (("mnist", "garments"), ("fashion-mnist", "default")):
        assert main("--dataset", name, "--recipe", recipe) == 2
        assert f"the recipe {recipe} does not fit {name}" in capsys.readouterr().err


def test_recipes_that_draw_digits_are_for_digits_only():
    for name, source in dataset.DATASETS.items():
        for recipe in (RECIPES[recipe] for recipe in source.recipes):
            drawn = recipe.drawn_digits, recipe.last_drawn_digits, recipe.non_digits
            assert any(drawn) == (source.reading == "digit"), name
