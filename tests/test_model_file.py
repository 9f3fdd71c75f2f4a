"""The model file through Flask's test client: missing, replaced, broken, of another interface."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from app import create_app
from classifier import Classifier
from drawings import assert_error, drawing, post
from onnx import TensorProto
from tiny_model import band, encoded, model_bytes, write_model

VERSION, NEXT_VERSION = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
MISSING = "no model at .*model.onnx.*Train one"


@pytest.fixture
def model_path(tmp_path):
    return write_model(tmp_path / "model.onnx", VERSION)


@pytest.fixture
def client(model_path):
    return create_app(model_path).test_client()


def test_without_a_model_the_server_is_alive_and_says_what_to_do(tmp_path):
    client = create_app(tmp_path / "model.onnx").test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/version").json["model"] is None
    assert_error(client.get("/readyz"), 503, MISSING)
    assert_error(client.get("/v2/health/ready"), 503, MISSING)
    assert_error(post(client, band(1)), 503, MISSING)


def test_a_model_that_appears_is_loaded(tmp_path):
    client = create_app(tmp_path / "model.onnx").test_client()
    write_model(tmp_path / "model.onnx", VERSION)
    assert client.get("/readyz").json == {"status": "ready", "model_version": VERSION}
    assert post(client, band(2)).json == {"prediction": 2}


def test_a_replaced_model_is_loaded(client, model_path):
    assert client.get("/version").json["model"]["model_version"] == VERSION
    write_model(model_path, NEXT_VERSION)
    assert client.get("/version").json["model"] == {
        "model_version": NEXT_VERSION, "dataset": "bands",
    }  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [b"", b"not a model", model_bytes(NEXT_VERSION)[:-200], None],
    ids=["empty", "text", "cut off", "deleted"],
)
def test_the_old_model_goes_on_serving_when_its_file_is_broken_or_deleted(
    client, model_path, broken
):
    model_path.unlink() if broken is None else model_path.write_bytes(broken)
    assert client.get("/readyz").json["model_version"] == VERSION
    assert post(client, band(6)).json == {"prediction": 6}


def test_a_broken_model_is_logged_once_and_a_good_one_after_it_is_loaded(tmp_path, caplog):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    client = create_app(path).test_client()
    for _ in range(3):
        assert_error(client.get("/readyz"), 503, "was rejected.*Train it again")
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1
    write_model(path, VERSION)
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (model_bytes(VERSION, input="picture"), "must be image"),
        (model_bytes(VERSION, type=TensorProto.FLOAT), "tensor.uint8."),
        (model_bytes(VERSION, shape=["N", 1, 784]), r"\['N', 28, 28\]"),
        (model_bytes(VERSION, shape=[1, 28, 28]), r"\['N', 28, 28\]"),
        (model_bytes(VERSION, last="Identity"), "not probabilities"),
        (model_bytes(None), "model_version"),
    ],
    ids=["other name", "other type", "other shape", "fixed batch", "no softmax", "no version"],
)
def test_a_model_with_another_interface_is_rejected(tmp_path, data, pattern):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert_error(create_app(path).test_client().get("/readyz"), 503, pattern)


def test_threads_that_find_a_new_model_load_it_once(model_path, caplog):
    caplog.set_level(logging.INFO)
    classifier = Classifier(str(model_path))
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: classifier.current(), range(64)))
    assert {model.version for model in models} == {VERSION}
    assert caplog.text.count("serving model") == 1


def test_the_model_path_comes_from_the_environment(model_path, monkeypatch):
    monkeypatch.setenv("MODEL_PATH", str(model_path))
    assert create_app().test_client().get("/readyz").status_code == 200


def test_version_names_the_packages_that_the_server_runs_on(client):
    server = client.get("/version").json["server"]
    packages = {"flask", "gevent", "gunicorn", "numpy", "onnxruntime", "pillow"}
    assert set(server) == {"python"} | packages


def test_a_model_that_training_published_is_served_with_its_metadata(model_file):
    client = create_app(model_file).test_client()
    model = client.get("/version").json["model"]
    assert model["dataset"] == "synthetic"
    assert 0 < float(model["test_accuracy"]) <= 1
    assert client.get("/readyz").json["model_version"] == model["model_version"]
    assert re.fullmatch(r"[0-9a-f]{12}", model["model_version"])
    assert post(client, encoded(drawing())).json["prediction"] in range(10)
