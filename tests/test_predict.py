"""POST /predict through Flask's test client: what it reads, what it answers, what it rejects."""

import base64
import io
import tempfile

import numpy as np
import pytest
from answers import SEVERAL, UNSURE
from PIL import Image, ImageDraw
from tiny_model import assert_error, drawing, encoded, multipart, post, two_lines

FORM, JSON = "multipart/form-data", "application/json"


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


def in_base64(digit: int, prefix: str = "") -> str:
    return prefix + base64.b64encode(two_lines(digit)).decode()


def test_one_picture_is_answered_with_its_digit_and_nothing_else(client):
    response = post(client, two_lines(7))
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.text == '{"prediction": 7}\n'


@pytest.mark.parametrize(
    ("request_of", "answer"),
    [
        ({"data": two_lines(5), "content_type": "image/png"}, {"prediction": 5}),
        ({"data": two_lines(5), "content_type": "application/octet-stream"}, {"prediction": 5}),
        ({"json": {"image": in_base64(5)}}, {"prediction": 5}),
        ({"json": {"image": in_base64(5, "data:image/png;base64,")}}, {"prediction": 5}),
        (
            {"json": {"images": [in_base64(2), in_base64(8)]}},
            {"predictions": [{"file": "0", "prediction": 2}, {"file": "1", "prediction": 8}]},
        ),
    ],
    ids=["body", "octets", "base64", "data URI", "several in JSON"],
)
def test_a_picture_can_be_sent_in_other_ways_than_as_a_form(client, request_of, answer):
    assert client.post("/predict", **request_of).json == answer


@pytest.mark.parametrize(
    ("sent", "answered"),
    [("größe 3.png".encode(), "größe 3.png"), (b'a"b.png', "a"), (b"\xff.png", "\ufffd.png")],
)
def test_the_file_name_may_have_any_characters(client, sent, answered):
    body, kind = multipart(two_lines(3), two_lines(4))
    answer = client.post("/predict", data=body.replace(b"0.png", sent), content_type=kind).json
    first, second = answer["predictions"]
    assert first == {"file": answered, "prediction": 3}
    assert second == {"file": "1.png", "prediction": 4}


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


@pytest.mark.parametrize("value", ["0", "false"])
def test_an_option_can_be_switched_off(client, value):
    answer = post(client, two_lines(7), query=f"?details={value}&segment={value}").json
    assert answer == {"prediction": 7}


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


def test_almost_four_mebibytes_are_read_without_a_temporary_file(client, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    large = encoded(drawing().resize((2000, 2000)), "BMP")
    assert 3_900_000 < len(large) < 4 * 2**20
    assert post(client, large).status_code == 200


def test_more_than_four_mebibytes_and_more_than_32_pictures_are_too_much(client):
    large, json_of_33 = bytes(4 * 2**20 + 1), {"images": ["aaaa"] * 33}
    assert_error(post(client, large), 413, "4 MiB")
    assert_error(client.post("/predict", data=large, content_type="image/png"), 413, "4 MiB")
    assert_error(client.post("/predict", json=json_of_33), 413, "32 pictures")
    assert_error(post(client, *[two_lines(1)] * 33), 413, "32 pictures")
    assert len(post(client, *[two_lines(1)] * 32).json["predictions"]) == 32


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


@pytest.mark.parametrize(
    ("request_of", "status", "pattern"),
    [
        ({"data": {"other": (io.BytesIO(two_lines(1)), "x.png")}}, 400, "no picture.*-F file=@"),
        ({"data": {"file": "digit.png"}, "content_type": FORM}, 400, "note the @"),
        ({}, 400, "no picture"),
        ({"data": b"x", "content_type": f"{FORM}; boundary=b"}, 400, "malformed"),
        ({"data": b"x", "content_type": FORM}, 400, "malformed"),
        ({"data": b"x", "content_type": "application/x-www-form-urlencoded"}, 415, "-F file=@"),
        ({"json": {"image": [0]}}, 400, "BASE64"),
        ({"json": {"images": {"AAAA": 1}}}, 400, "BASE64"),
        ({"json": {"picture": "AAAA"}}, 400, "BASE64"),
        ({"json": {"image": "not base64!"}}, 400, "BASE64"),
        ({"data": b"[" * 100_000, "content_type": JSON}, 400, "BASE64"),
        ({"json": {"images": ["AAAA"], "more": [1] * 1000}}, 413, "too many values"),
        ({"json": {"images": []}}, 400, "no picture"),
        ({"data": {f"part{n}": "x" for n in range(40)}, "content_type": FORM}, 413, "32"),
        ({"query_string": "detail=1"}, 400, "'detail': the parameters are details, image, segment"),
        ({"query_string": "details=yes"}, 400, "details=yes is not valid: use details=1 or"),
        ({"query_string": "details=1&details=2"}, 400, "details=2 is not valid"),
    ],
    ids=[
        "other field", "text in the field", "nothing", "broken form", "no boundary", "url-encoded",
        "list", "object of images", "no image", "not base64", "deep JSON", "many values",
        "no images", "many parts", "unknown parameter", "unknown value", "second value",
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_read_is_told_how_to_send_one(client, request_of, status, pattern):
    assert_error(client.post("/predict", **request_of), status, pattern)
