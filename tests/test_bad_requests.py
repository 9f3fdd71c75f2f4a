"""POST /predict and other routes through Flask's test client: what is rejected, and how."""

import io

import pytest
from drawings import assert_error, drawing, post
from PIL import Image
from tiny_model import encoded, two_lines

FORM = "multipart/form-data"


@pytest.mark.parametrize(
    ("data", "status", "pattern"),
    [
        (b"", 400, "empty"),
        (b"this is not a picture", 415, "PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "PNG"),
        (b"%PDF-1.7 nor is this", 415, "PNG"),
        (encoded(drawing(), "PPM"), 415, "PNG"),
        (encoded(drawing())[:200], 422, "damaged or cut off"),
        (encoded(drawing(), "JPEG")[:700], 422, "damaged or cut off"),
        (encoded(Image.new("1", (9000, 9000))), 413, "81.0 million pixels: send at most 40"),
        (encoded(Image.new("L", (200, 200), "white")), 422, "Nothing is drawn"),
        (encoded(Image.new("L", (28, 28), "black")), 422, "Nothing is drawn"),
    ],
    ids=["empty", "text", "svg", "pdf", "ppm", "cut png", "cut jpeg", "bomb", "white", "black"],
)
def test_a_picture_that_cannot_be_used_is_rejected_with_the_reason(client, data, status, pattern):
    assert_error(post(client, data), status, pattern)


@pytest.mark.parametrize(
    ("request_of", "status", "pattern"),
    [
        ({"data": {"other": (io.BytesIO(two_lines(1)), "x.png")}}, 400, "no picture.*-F file=@"),
        ({"data": {"file": "digit.png"}, "content_type": FORM}, 400, "note the @"),
        ({}, 400, "no picture"),
        ({"data": b"", "content_type": "image/png"}, 400, "empty"),
        ({"data": b"x", "content_type": f"{FORM}; boundary=b"}, 400, "malformed"),
        ({"data": b"x", "content_type": FORM}, 400, "malformed"),
        ({"data": b"x", "content_type": "application/x-www-form-urlencoded"}, 415, "-F file=@"),
        ({"json": {"image": [0]}}, 400, "BASE64"),
        ({"json": {"images": {"AAAA": 1}}}, 400, "BASE64"),
        ({"json": {"images": ["AAAA"], "more": [1] * 1000}}, 413, "too many values"),
        ({"json": {"images": []}}, 400, "no picture"),
        ({"json": {"image": "not base64!"}}, 400, "BASE64"),
        ({"json": [1]}, 400, "BASE64"),
        ({"data": b"{", "content_type": "application/json"}, 400, "BASE64"),
        ({"data": b"[" * 100_000, "content_type": "application/json"}, 400, "BASE64"),
        ({"data": {f"part{n}": "x" for n in range(40)}, "content_type": FORM}, 413, "32"),
    ],
    ids=[
        "other field", "text in the field", "nothing", "empty body", "broken form", "no boundary",
        "url-encoded form", "list in json", "object of images", "many values", "no images",
        "bad base64", "json list", "bad json", "deep json", "many parts",
    ],
)  # fmt: skip
def test_a_request_without_a_readable_picture_is_told_how_to_send_one(
    client, request_of, status, pattern
):
    assert_error(client.post("/predict", **request_of), status, pattern)


@pytest.mark.parametrize(
    ("query", "pattern"),
    [
        ("?detail=1", "Unknown parameter 'detail': the parameters are details, image, segment"),
        ("?details=1&x", "Unknown parameter 'x'"),
        ("?details=yes", "details=yes is not valid: use details=1 or details=0"),
        ("?segment=", "segment= is not valid"),
        ("?details=1&details=2", "details=2 is not valid"),
    ],
)
def test_an_unknown_parameter_or_value_is_rejected_with_the_valid_ones(client, query, pattern):
    assert_error(post(client, two_lines(1), query=query), 400, pattern)


def test_33_pictures_are_too_many_and_32_are_not(client):
    assert_error(post(client, *[two_lines(1)] * 33), 413, "32 pictures")
    assert_error(client.post("/predict", json={"images": ["aaaa"] * 33}), 413, "32 pictures")
    assert len(post(client, *[two_lines(1)] * 32).json["predictions"]) == 32


def test_more_than_four_mebibytes_are_rejected_in_a_form_and_in_a_body(client):
    data = bytes(4 * 2**20 + 1)
    assert_error(post(client, data), 413, "4 MiB")
    assert_error(client.post("/predict", data=data, content_type="image/png"), 413, "4 MiB")


def test_another_method_is_rejected_with_the_allowed_ones(client):
    response = client.get("/predict")
    assert_error(response, 405, "openapi.json")
    assert "POST" in response.headers["Allow"]


def test_an_unknown_path_is_a_404_in_json(client):
    assert_error(client.get("/favicon.ico"), 404, "/predict")


def test_an_internal_error_shows_the_client_no_traceback(client, monkeypatch, caplog):
    monkeypatch.setattr("app.read_options", lambda parameters: 1 / 0)
    assert_error(post(client, two_lines(1)), 500, "its log says why")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere"])
def test_every_response_has_the_security_headers(client, path):
    with client.get(path) as response:
        headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
