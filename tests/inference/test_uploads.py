"""The ways to send pictures to POST /predict, their limits, and requests that cannot be read."""

import base64
import io
import tempfile

import pytest
from tiny_model import assert_error, drawing, encoded, multipart, post, two_lines

FORM, JSON = "multipart/form-data", "application/json"


def in_base64(digit: int, prefix: str = "") -> str:
    return prefix + base64.b64encode(two_lines(digit)).decode()


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
