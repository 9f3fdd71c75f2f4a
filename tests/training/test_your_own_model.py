"""docs/your-own-model.md: garments from a mirror to the answers, and what must not be mixed."""

import gzip
import io
import json
import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import archives
import corrections
import dataset
import evaluate
import numpy as np
import pytest
import train
from app import create_app
from click.testing import CliRunner
from garments import draw_garments
from idx_files import idx
from mirror_writing import idx_files, tar
from model import RECIPES
from PIL import Image, ImageOps
from programs import ROOT
from publish import published_metadata
from tiny_model import model_bytes, post, two_lines
from torchvision.datasets import FashionMNIST
from training_runs import TRAINING_VARIABLES

DOCUMENT = (ROOT / "docs" / "your-own-model.md").read_text()
GARMENTS = dataset.GARMENTS
TRAIN, TEST = draw_garments(1480, seed=0), draw_garments(100, seed=1)
CONTENT = dict(
    zip([name for name, _ in FashionMNIST.resources], map(idx, (*TRAIN, *TEST)), strict=True)
)


class Mirror(SimpleHTTPRequestHandler):
    """Answers with CONTENT."""

    def do_GET(self):
        body = CONTENT[self.path.removeprefix("/")]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder into which the training has downloaded small garments instead of Fashion-MNIST."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def garment_model(tmp_path_factory, data_dir):
    """The model that train.py publishes after it has downloaded small garments from a mirror."""
    folder = tmp_path_factory.mktemp("garments")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name in TRAINING_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("FASHION_MNIST_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
        patch.setenv("MNIST_MIRROR", "http://127.0.0.1:1")
        checksums = [(name, archives.md5_of(body)) for name, body in CONTENT.items()]
        patch.setattr(FashionMNIST, "resources", checksums)
        patch.setattr(FashionMNIST, "mirrors", [])
        patch.setattr(dataset, "HELD_OUT", 200)
        flags = ["--dataset", "fashion-mnist", "--data-dir", str(data_dir), "--epochs", "10"]
        with pytest.raises(SystemExit) as exited:
            train.main([*flags, "--output-dir", str(folder)], "train.py")
    server.shutdown()
    server.server_close()
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


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


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
        files = [png(each) for each in (picture, large, ImageOps.invert(large))]
        for answer in post(client, *files, query="?details=1").json["predictions"]:
            np.testing.assert_allclose(answer["probabilities"], row, atol=1e-5)
            assert answer["label"] == GARMENTS[answer["prediction"]]
        right += answer["prediction"] == label
    assert right >= 17, "the training has passed its minimum accuracy of 85 %"
    assert client.get("/v2/models/mnist").json["parameters"] == {"classes": list(GARMENTS)}


def test_the_evaluation_uses_the_test_images_of_the_models_dataset(garment_model, data_dir):
    run = partial(CliRunner().invoke, evaluate.main)
    result = run([str(garment_model), "--data-dir", str(data_dir)])
    assert result.exit_code == 0, result.output
    assert "of 100 images" in result.output
    assert re.search(r"^ +9 .* Ankle boot$", result.output, re.MULTILINE)
    assert "non-digits" not in result.output


@pytest.mark.parametrize(
    ("published", "trained", "allowed"),
    [
        ("fashion-mnist", "mnist", False),
        ("mnist", "fashion-mnist", False),
        ("mnist", "synthetic", False),
        ("synthetic", "fashion-mnist", False),
        ("of another origin", "mnist", False),
        ("synthetic", "mnist", True),
        ("mnist", "mnist", True),
    ],
)
def test_a_model_of_another_dataset_is_replaced_only_if_told_to(
    published, trained, allowed, tmp_path
):
    model = tmp_path / "model.onnx"
    assert train.check_same_dataset(model, trained, replace=False) is None
    model.write_bytes(model_bytes("aaaaaaaaaaaa", dataset=published))
    assert train.check_same_dataset(model, trained, replace=True) == published
    if allowed:
        assert train.check_same_dataset(model, trained, replace=False) == published
    else:
        with pytest.raises(train.click.UsageError, match=f"trained on {published}: add --replace"):
            train.check_same_dataset(model, trained, replace=False)


@pytest.mark.parametrize(
    ("named", "wanted", "problem"),
    [
        (GARMENTS, GARMENTS, None),
        ((), (), None),
        (GARMENTS, (), r"its labels are .*'Ankle boot'\], not digits$"),
        ((), GARMENTS, r"its labels are digits, not \('T-shirt/top', "),
        (GARMENTS[::-1], GARMENTS, "its labels are"),
    ],
)
def test_corrections_of_other_classes_are_refused(named, wanted, problem, tmp_path):
    files = idx_files(*draw_garments(3, seed=0))
    if named:
        files.append((corrections.CLASSES, json.dumps(named).encode()))
    (tmp_path / "corrections.tar").write_bytes(tar(files))
    if problem is None:
        assert len(corrections.load([], tmp_path, wanted).train) == 3
    else:
        with pytest.raises(corrections.Failure, match=problem) as raised:
            corrections.load([], tmp_path, wanted)
        assert raised.value.exit_code == os.EX_DATAERR


@pytest.mark.parametrize(
    ("name", "recipe", "fitting"),
    [("mnist", "garments", "default or patient"), ("fashion-mnist", "default", "garments")],
)
def test_a_recipe_that_does_not_fit_the_dataset_is_a_wrong_setting(
    name, recipe, fitting, main, capsys
):
    assert main("--dataset", name, "--recipe", recipe) == 2
    assert f"the recipe {recipe} does not fit {name}: use {fitting}" in capsys.readouterr().err


def test_recipes_that_draw_digits_are_for_digits_only():
    for name, source in dataset.DATASETS.items():
        for recipe in (RECIPES[recipe] for recipe in source.recipes):
            drawn = recipe.drawn_digits, recipe.last_drawn_digits, recipe.non_digits
            assert any(drawn) == (source.reading == "digit"), name


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (np.zeros((5_100, 28, 28)), np.zeros(5_100), "100 training images and 5000 held-out ones"),
        (np.zeros((3_000, 28, 28)), np.zeros(3_000), "0 training images and 3000 held-out ones"),
        (np.zeros((6_000, 32, 32)), np.zeros(6_000), "images (6000, 32, 32) and"),
        (np.zeros((6_000, 28, 28)), np.full(6_000, 10), "labels from 0 to 9"),
        (np.zeros((6_000, 28, 28)), np.zeros(5_999), "labels (5999,)"),
    ],
    ids=["less than a batch", "less than is held out", "other size", "eleven classes", "no label"],
)
def test_data_that_do_not_fit_end_the_training_with_65_and_one_line(
    images, labels, problem, main, tmp_path, capsys
):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for start in ("train", "t10k"):
        (raw / f"{start}-images-idx3-ubyte").write_bytes(gzip.decompress(idx(images)))
        (raw / f"{start}-labels-idx1-ubyte").write_bytes(gzip.decompress(idx(labels)))
    flags = ("--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"))
    assert main(*flags) == os.EX_DATAERR
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
