"""The application: its routes with a model that training has published."""

import re

from app import create_app
from programs import ROOT
from tiny_model import post


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


def test_a_briefly_trained_model_reads_the_pictures_of_the_readme(model_file):
    client = create_app(model_file).test_client()
    samples = sorted((ROOT / "samples" / "digits").iterdir())
    assert {path.name[0] for path in samples} == set("0123456789")
    for path in samples:
        assert post(client, path.read_bytes()).json == {"prediction": int(path.name[0])}, path
    house_number = (ROOT / "samples" / "house-number.png").read_bytes()
    digits = post(client, house_number, query="?segment=1").json["digits"]
    assert [digit["prediction"] for digit in digits] == [4, 2]
