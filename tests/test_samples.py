"""The pictures that the README sends are read as it says, by a briefly trained model."""

import pytest
from app import create_app
from conftest import ROOT

SAMPLES = sorted((ROOT / "samples" / "digits").iterdir())


@pytest.fixture(scope="module")
def client(model_file):
    return create_app(str(model_file)).test_client()


def send(client, path, query=""):
    return client.post(f"/predict{query}", data={"file": (path.open("rb"), path.name)}).json


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_read_as_the_digit_that_its_name_begins_with(path, client):
    assert send(client, path) == {"prediction": int(path.name[0])}


def test_the_samples_show_every_digit():
    assert {path.name[0] for path in SAMPLES} == set("0123456789")


def test_the_house_number_is_read_left_to_right(client):
    answer = send(client, ROOT / "samples" / "house-number.png", "?segment=1")
    assert [digit["prediction"] for digit in answer["digits"]] == [4, 2]
