"""The answers of POST /predict, and the errors of pictures that cannot be used."""

import base64
import io

import numpy as np
import pytest
from answers import SEVERAL, UNSURE, UNSURE_OF_CLASS
from app import create_app
from PIL import Image, ImageDraw
from tiny_model import (
    NAMED,
    NAMES,
    assert_error,
    drawing,
    encoded,
    model_bytes,
    post,
    two_lines,
)
from vision.reading import Reading


def row_of_two() -> bytes:
    """Two pictures on 2400x600 that tiny_model.py reads as a 9: the upper and the lower line."""
    row = Image.new("L", (2400, 600), "white")
    pen = ImageDraw.Draw(row)
    for left, top in ((300, 100), (1500, 150)):
        pen.rectangle((left, top, left + 199, top + 19), fill="black")
        pen.rectangle((left, top + 380, left + 199, top + 399), fill="black")
    return encoded(row)


def mixed(first: int, second: int, share: float) -> bytes:
    """A picture of two bands, the second lighter or darker than the first."""
    one, other = (
        np.asarray(Image.open(io.BytesIO(two_lines(digit)))).astype(float)
        for digit in (first, second)
    )
    return encoded(Image.fromarray(np.rint(np.maximum(one, other * share)).astype(np.uint8)))


def test_one_picture_is_answered_with_its_digit_and_nothing_else(client):
    for query in ("", "?details=0&segment=false"):
        response = post(client, two_lines(7), query=query)
        assert (response.status_code, response.mimetype) == (200, "application/json")
        assert response.text == '{"prediction": 7}\n'


def test_a_bad_picture_among_others_has_its_error_and_they_have_their_answers(client):
    response = post(client, two_lines(1), b"not a picture", b"", two_lines(4))
    assert response.status_code == 200
    first, unknown, empty, last = response.json["predictions"]
    assert first == {"file": "0.png", "prediction": 1}
    assert last == {"file": "3.png", "prediction": 4}
    assert set(unknown) == set(empty) == {"file", "error"}
    assert "PNG" in unknown["error"]
    assert "empty" in empty["error"]


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_details_add_probabilities_model_version_and_warnings(client, value):
    details = post(client, two_lines(7), query=f"?details={value}").json
    probabilities = details.pop("probabilities")
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert details == {
        "prediction": 7,
        "confidence": max(probabilities),
        "model_version": "aaaaaaaaaaaa",
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("picture", "warnings"),
    [(mixed(3, 8, 1.0), [UNSURE]), (mixed(3, 8, 0.95), []), (row_of_two(), [SEVERAL])],
    ids=["below 60%", "above 60%", "two digits"],
)
def test_low_confidence_and_another_digit_are_warned_about(client, picture, warnings):
    details = post(client, picture, query="?details=1").json
    assert details["warnings"] == warnings
    assert (details["confidence"] < 0.6) == (UNSURE in warnings)


def test_the_image_of_an_answer_is_what_the_model_saw(client):
    sent = two_lines(3)
    uri = post(client, sent, query="?image=1").json["image"]
    seen = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(png))) for png in (seen, sent)))


def test_segment_lists_the_digits_from_left_to_right_with_boxes_in_pixels_of_the_upload(client):
    answer = post(client, row_of_two(), query="?segment=1&details=1&image=1").json
    assert set(answer) == {"digits", "model_version", "warnings"}
    first, second = answer["digits"]
    assert set(first) == {"prediction", "confidence", "probabilities", "image", "box"}
    assert first["box"] == pytest.approx([300, 100, 200, 400], abs=20)
    assert second["box"] == pytest.approx([1500, 150, 200, 400], abs=20)


def test_segment_keeps_the_digits_of_several_pictures_apart(client):
    answer = post(client, row_of_two(), encoded(drawing()), query="?segment=true").json
    assert [len(each["digits"]) for each in answer["predictions"]] == [2, 1]
    assert [each["file"] for each in answer["predictions"]] == ["0.png", "1.png"]
    assert set(answer["predictions"][1]["digits"][0]) == {"prediction", "box"}


@pytest.mark.parametrize(
    ("data", "status", "pattern"),
    [
        (b"", 400, "empty"),
        (b"this is not a picture", 415, "PNG"),
        (encoded(drawing())[:100], 422, "damaged or cut off"),
        (encoded(Image.new("1", (9000, 9000))), 413, "81.0 million pixels: send at most 40"),
        (encoded(Image.new("L", (200, 200), "white")), 422, "Nothing is drawn"),
    ],
    ids=["empty", "text", "cut off", "bomb", "white"],
)
def test_a_picture_that_cannot_be_used_is_rejected_with_the_reason(client, data, status, pattern):
    assert_error(post(client, data), status, pattern)


@pytest.fixture
def client_of(tmp_path):
    """client_of(metadata) is a test client of the server with a model that has this metadata."""

    def client_of(metadata):
        (tmp_path / "model.onnx").write_bytes(model_bytes("aaaaaaaaaaaa", metadata=metadata))
        return create_app(tmp_path / "model.onnx").test_client()

    return client_of


def test_digits_that_have_names_are_read_as_digits_and_get_their_names(client_of):
    client = client_of(NAMED)
    assert post(client, two_lines(7)).json == {"prediction": 7, "label": NAMES[7]}
    digits = post(client, row_of_two(), query="?segment=1").json["digits"]
    assert [digit["label"] for digit in digits] == [NAMES[digit["prediction"]] for digit in digits]
    assert len(digits) == 2
    details = post(client, mixed(3, 8, 1.0), two_lines(1), query="?details=1").json["predictions"]
    assert (details[0]["warnings"], details[1]["label"]) == ([UNSURE], NAMES[1])


def test_a_model_of_whole_pictures_reads_no_digits(client_of):
    client = client_of({"reading": "whole"})
    off_centre = np.zeros((28, 28), np.uint8)
    off_centre[[13 - 7, 14 + 7], :9] = 255
    picture = encoded(Image.fromarray(off_centre))
    uri = post(client, picture, query="?image=1").json["image"]
    seen = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert np.array_equal(np.asarray(seen), off_centre)
    details = post(client, mixed(3, 8, 1.0), query="?details=1").json
    assert (details["warnings"], "label" in details) == ([UNSURE_OF_CLASS], False)
    assert_error(post(client, picture, query="?segment=1"), 400, "each picture as a whole")
    white = encoded(Image.new("L", (40, 40), "white"))
    assert_error(post(client, white), 422, "Nothing can be seen")


@pytest.mark.parametrize("metadata", [{}, NAMED, {"reading": "whole"}])
def test_the_metadata_of_v2_has_the_names_if_there_are_any(client_of, metadata):
    answer = client_of(metadata).get("/v2/models/mnist").json
    assert answer.get("parameters") == ({"classes": NAMES} if metadata == NAMED else None)


def test_one_digit_of_several_that_the_model_is_unsure_of_is_enough_for_the_warning(
    client, monkeypatch
):
    probabilities = np.stack([np.eye(10)[3], np.full(10, 0.1)])
    reading = Reading([np.zeros((28, 28), np.uint8)] * 2, probabilities, [(0, 0, 9, 9)] * 2)
    monkeypatch.setattr("app.read_pictures", lambda *_: [reading])
    assert post(client, b"x", query="?segment=1&details=1").json["warnings"] == [UNSURE]
