"""The server's routes through Flask's test client: every kind of picture, every bad input."""

import base64
import hashlib
import io
import json
import logging
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from app import content_security_policy, create_app
from classifier import Classifier
from onnx import TensorProto
from PIL import Image, ImageDraw
from tiny_model import band, encoded, model_bytes, multipart, write_model

VERSION, NEXT_VERSION = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def model_path(tmp_path):
    return write_model(tmp_path / "model.onnx", VERSION)


@pytest.fixture
def client(model_path):
    return create_app(model_path).test_client()


@pytest.fixture
def client_without_model(tmp_path):
    return create_app(tmp_path / "model.onnx").test_client()


def post(client, *files, query=""):
    body, content_type = multipart(*files)
    return client.post(f"/predict{query}", data=body, content_type=content_type)


def seen_by_model(client, data):
    """What the model saw of an upload, as int [28, 28]."""
    answer = post(client, data, query="?image=1")
    assert answer.status_code == 200, answer.json
    png = base64.b64decode(answer.json["image"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def drawing(mode="RGB", ink="black", ground="white"):
    """An L-shaped stroke on 120x90: turned or mirrored, it is another picture."""
    image = Image.new(mode, (120, 90), ground)
    ImageDraw.Draw(image).line([(40, 15), (40, 70), (75, 70)], fill=ink, width=9)
    return image


def deep(image):
    """An 8-bit gray picture with 16 bits."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def transparent_palette():
    image = drawing().convert("RGB").quantize(4)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


def assert_error(answer, status, words):
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["error"]
    assert re.search(words, answer.json["error"]), answer.json["error"]


# Good requests


@pytest.mark.parametrize("digit", range(10))
def test_a_picture_is_answered_with_its_digit_and_nothing_else(client, digit):
    answer = post(client, band(digit))
    assert answer.status_code == 200
    assert answer.text == f'{{"prediction": {digit}}}\n'


def test_details_are_the_probabilities_and_what_they_rest_on(client):
    details = post(client, band(7), query="?details=1").json
    assert set(details) == {
        "prediction", "confidence", "probabilities", "model_version", "warnings",
    }  # fmt: skip
    assert details["model_version"] == VERSION
    assert details["warnings"] == []
    assert len(details["probabilities"]) == 10
    assert sum(details["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert details["confidence"] == details["probabilities"][7] == max(details["probabilities"])


def test_an_answer_of_little_confidence_comes_with_a_warning(client):
    both = np.maximum(*(np.asarray(Image.open(io.BytesIO(band(digit)))) for digit in (3, 8)))
    details = post(client, encoded(Image.fromarray(both)), query="?details=1").json
    assert details["confidence"] == pytest.approx(0.5, abs=0.01)
    assert details["warnings"] == ["The model is not sure: this may be no digit."]


def test_a_28x28_picture_in_mnist_s_form_reaches_the_model_untouched(client):
    sent = np.asarray(Image.open(io.BytesIO(band(3))))
    assert (seen_by_model(client, encoded(Image.fromarray(sent))) == sent).all()


def test_several_files_are_answered_by_name_in_their_order(client):
    answer = post(client, band(1), band(9), band(4))
    assert answer.json == {
        "predictions": [
            {"file": "0.png", "prediction": 1},
            {"file": "1.png", "prediction": 9},
            {"file": "2.png", "prediction": 4},
        ]
    }


def test_a_raw_body_of_an_image_type_works_too(client):
    answer = client.post("/predict", data=band(5), content_type="image/png")
    assert answer.json == {"prediction": 5}


def test_a_row_of_digits_is_answered_left_to_right_with_boxes_in_the_upload_s_pixels(client):
    row = Image.new("L", (2400, 600), "white")
    pen = ImageDraw.Draw(row)
    pen.line([(300, 100), (300, 500)], fill="black", width=60)
    pen.line([(1500, 100), (1500, 500), (1900, 500)], fill="black", width=60)
    answer = post(client, encoded(row), query="?segment=1&details=1&image=1").json
    assert len(answer["predictions"]) == len(answer["confidences"]) == len(answer["images"]) == 2
    assert answer["model_version"] == VERSION
    assert np.abs(np.array(answer["boxes"][0]) - [270, 100, 60, 400]).max() < 20
    assert np.abs(np.array(answer["boxes"][1]) - [1470, 100, 430, 430]).max() < 40


def test_two_rows_in_one_request_are_told_apart(client):
    two = Image.new("L", (300, 100), "white")
    for x in (60, 200):
        ImageDraw.Draw(two).line([(x, 20), (x, 80)], fill="black", width=9)
    answers = post(client, encoded(two), encoded(drawing()), query="?segment=1").json
    assert [len(each["boxes"]) for each in answers["predictions"]] == [2, 1]
    assert [each["file"] for each in answers["predictions"]] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("PNG", drawing("1", 0, 1)),
        ("PNG", drawing("L")),
        ("PNG", drawing("LA", (0, 255), (0, 0))),
        ("PNG", transparent_palette()),
        ("PNG", drawing("RGB", "navy")),
        ("PNG", drawing("RGBA", "black", (0, 0, 0, 0))),
        ("PNG", deep(drawing())),
        ("JPEG", drawing()),
        ("JPEG", drawing().convert("CMYK")),
        ("BMP", drawing()),
        ("GIF", drawing().quantize(8)),
        ("WEBP", drawing()),
        ("TIFF", drawing()),
        ("TIFF", drawing().convert("CMYK")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_every_format_and_mode_shows_the_model_the_same_drawing(client, kind, image):
    plain = seen_by_model(client, encoded(drawing("L")))
    assert np.abs(seen_by_model(client, encoded(image, kind)) - plain).mean() < 6


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)],
)
def test_a_photo_taken_sideways_is_read_upright(client, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encoded(drawing().transpose(stored), "JPEG", exif=exif)
    upright = seen_by_model(client, encoded(drawing(), "JPEG"))
    assert np.abs(seen_by_model(client, turned) - upright).mean() < 6


def test_an_upload_needs_no_place_for_temporary_files(client, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    large = encoded(drawing("L").resize((1200, 900)), "BMP")
    assert len(large) > 1_000_000
    assert post(client, large).status_code == 200


# Bad requests


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"this is no picture", 415, "PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "PNG"),
        (b"%PDF-1.7 nor is this", 415, "PNG"),
        (encoded(drawing(), "PPM"), 415, "PNG"),
        (encoded(drawing())[:200], 422, "damaged|cut off|truncated"),
        (encoded(drawing(), "JPEG")[:700], 422, "damaged|cut off|truncated"),
        (encoded(Image.new("1", (9000, 9000))), 413, "pixels"),
        (encoded(Image.new("L", (200, 200), "white")), 422, "[Nn]othing"),
        (encoded(Image.new("L", (28, 28), "black")), 422, "[Nn]othing"),
    ],
    ids=["empty", "text", "svg", "pdf", "ppm", "cut png", "cut jpeg", "bomb", "white", "black"],
)
def test_what_is_no_usable_picture_is_refused_with_the_reason(client, data, status, words):
    assert_error(post(client, data), status, words)


def test_one_bad_file_of_several_is_named(client):
    assert_error(post(client, band(1), b"no picture"), 415, "^1.png: ")


@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        ({"data": {"other": (io.BytesIO(band(1)), "x.png")}}, 400, "no picture.*-F file=@"),
        ({"data": {"file": "digit.png"}, "content_type": "multipart/form-data"}, 400, "mind the @"),
        ({}, 400, "no picture"),
        ({"data": b"", "content_type": "image/png"}, 400, "empty"),
        ({"data": b"x", "content_type": "multipart/form-data; boundary=b"}, 400, "no picture"),
        ({"data": b"x", "content_type": "multipart/form-data"}, 400, "no picture"),
        ({"data": band(1), "content_type": "application/x-www-form-urlencoded"}, 415, "-F file=@"),
        ({"json": {"image": [0]}}, 415, "application/json"),
        ({"data": {"text": "x" * 300_000}, "content_type": "multipart/form-data"}, 413, "4 MiB"),
        ({"data": {f"part{n}": "x" for n in range(40)} | {"file": "x"},
          "content_type": "multipart/form-data"}, 413, "32 parts"),
    ],
    ids=[
        "no file part", "text in the field", "nothing", "empty raw body", "broken multipart",
        "no boundary", "a form", "json", "long text", "many parts",
    ],
)  # fmt: skip
def test_a_request_without_a_readable_upload_is_told_how_to_send_one(
    client, request_of, status, words
):
    assert_error(client.post("/predict", **request_of), status, words)


def test_thirty_three_files_are_too_many_and_thirty_two_are_not(client):
    assert_error(post(client, *[band(1)] * 33), 413, "32 parts")
    assert len(post(client, *[band(1)] * 32).json["predictions"]) == 32


def test_more_than_four_mebibytes_are_refused_in_a_form_and_in_a_raw_body(client):
    data = bytes(4 * 2**20 + 1)
    assert_error(post(client, data), 413, "4 MiB")
    assert_error(client.post("/predict", data=data, content_type="image/png"), 413, "4 MiB")


def test_a_picture_of_almost_four_mebibytes_is_read(client):
    large = encoded(drawing("L").resize((2000, 2000)), "BMP")
    assert 3_900_000 < len(large) < 4 * 2**20
    assert post(client, large).status_code == 200


def test_another_method_is_refused_with_the_allowed_ones(client):
    answer = client.get("/predict")
    assert_error(answer, 405, "POST to /predict")
    assert "POST" in answer.headers["Allow"]


def test_an_unknown_path_is_a_404_in_json(client):
    assert_error(client.get("/favicon.ico"), 404, "/predict")


def test_a_failure_of_our_own_shows_the_client_no_traceback(client, monkeypatch, caplog):
    monkeypatch.setattr("app.to_mnist", lambda gray: 1 / 0)
    assert_error(post(client, band(1)), 500, "its log says")
    assert "ZeroDivisionError" in caplog.text


# The model file


def test_without_a_model_the_server_is_alive_and_says_what_to_do(client_without_model):
    client = client_without_model
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/version").json["model"] is None
    assert client.get("/").status_code == 200
    assert_error(client.get("/readyz"), 503, "no model at .*model.onnx.*[Tt]rain")
    assert_error(post(client, band(1)), 503, "no model at .*model.onnx.*[Tt]rain")


def test_a_model_that_appears_is_picked_up(client_without_model, tmp_path):
    write_model(tmp_path / "model.onnx", VERSION)
    answer = client_without_model.get("/readyz")
    assert answer.json == {"status": "ready", "model_version": VERSION}
    assert post(client_without_model, band(2)).json == {"prediction": 2}


def test_a_replaced_model_is_picked_up(client, model_path):
    assert client.get("/version").json["model"]["model_version"] == VERSION
    write_model(model_path, NEXT_VERSION)
    assert client.get("/version").json["model"] == {
        "model_version": NEXT_VERSION, "dataset": "bands",
    }  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [b"", b"no model", model_bytes(NEXT_VERSION)[:-200], None],
    ids=["empty", "text", "cut off", "gone"],
)
def test_the_old_model_goes_on_when_its_file_is_broken_or_gone(client, model_path, broken):
    model_path.unlink() if broken is None else model_path.write_bytes(broken)
    assert client.get("/readyz").json["model_version"] == VERSION
    assert post(client, band(6)).json == {"prediction": 6}


def test_a_broken_model_is_logged_once_and_a_good_one_after_it_is_taken(tmp_path, caplog):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    client = create_app(path).test_client()
    for _ in range(3):
        assert_error(client.get("/readyz"), 503, "refused.*Train it again")
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1
    write_model(path, VERSION)
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (model_bytes(VERSION, input="picture"), "must be image"),
        (model_bytes(VERSION, type=TensorProto.FLOAT), "tensor.uint8."),
        (model_bytes(VERSION, shape=["N", 1, 784]), r"\[N, 28, 28\]"),
        (model_bytes(VERSION, shape=[1, 28, 28]), r"\[N, 28, 28\]"),
        (model_bytes(VERSION, last="Identity"), "not probabilities"),
        (model_bytes(None), "model_version"),
    ],
    ids=["other name", "other type", "other shape", "fixed batch", "no softmax", "no version"],
)
def test_a_model_with_another_interface_is_refused(tmp_path, data, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert_error(create_app(path).test_client().get("/readyz"), 503, words)


def test_threads_that_meet_a_new_model_read_it_once(model_path, caplog):
    caplog.set_level(logging.INFO)
    classifier = Classifier(str(model_path))
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: classifier.current(), range(64)))
    assert {model.metadata["model_version"] for model in models} == {VERSION}
    assert caplog.text.count("serving model") == 1


def test_the_model_path_comes_from_the_environment(model_path, monkeypatch):
    monkeypatch.setenv("MODEL_PATH", str(model_path))
    assert create_app().test_client().get("/readyz").status_code == 200


def test_version_names_what_the_server_runs_on(client):
    server = client.get("/version").json["server"]
    assert {"python", "flask", "gunicorn", "numpy", "onnxruntime", "pillow"} == set(server)


# The page


def test_the_page_s_policy_allows_its_own_blocks_and_no_others(client):
    answer = client.get("/")
    assert answer.mimetype == "text/html"
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    script = re.search(r"<script>(.*?)</script>", answer.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'sha256-{digest}'"
    assert policy["style-src"].startswith("'sha256-")
    assert policy["default-src"] == "'none'"


def test_a_page_without_scripts_allows_none():
    policy = content_security_policy("<style>a</style><p>")
    assert "script-src 'none'; style-src 'sha256-" in policy


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere"])
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_answers_are_json_with_a_line_s_end(client):
    text = client.get("/healthz").text
    assert text == json.dumps({"status": "ok"}) + "\n"


def test_a_model_that_training_published_is_served_with_its_metadata(model_file):
    client = create_app(model_file).test_client()
    model = client.get("/version").json["model"]
    assert model["dataset"] == "synthetic"
    assert 0 < float(model["test_accuracy"]) <= 1
    assert client.get("/readyz").json["model_version"] == model["model_version"]
    assert re.fullmatch(r"[0-9a-f]{12}", model["model_version"])
    assert post(client, encoded(drawing())).json["prediction"] in range(10)
