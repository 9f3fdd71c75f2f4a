"""POST /predict through Flask's test client: what it accepts and what it answers."""

import base64
import io
import tempfile

import numpy as np
import pytest
from answers import UNSURE
from drawings import drawing, post, seen_by_model
from PIL import Image, ImageDraw
from tiny_model import encoded, two_lines

VERSION = "aaaaaaaaaaaa"


def sixteen_bits(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def transparent_palette():
    image = drawing().convert("RGB").quantize(4)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


def row_of_two():
    """Two pictures on 2400x600 that tiny_model.py reads as a 9: the upper and the lower line."""
    row = Image.new("L", (2400, 600), "white")
    pen = ImageDraw.Draw(row)
    for left, top in ((300, 100), (1500, 150)):
        pen.rectangle((left, top, left + 199, top + 19), fill="black")
        pen.rectangle((left, top + 380, left + 199, top + 399), fill="black")
    return row


def in_base64(data, prefix=""):
    return prefix + base64.b64encode(data).decode()


@pytest.mark.parametrize("digit", range(10))
def test_one_picture_is_answered_with_its_digit_and_nothing_else(client, digit):
    response = post(client, two_lines(digit))
    assert response.status_code == 200
    assert response.text == f'{{"prediction": {digit}}}\n'


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_details_add_probabilities_model_version_and_warnings(client, value):
    details = post(client, two_lines(7), query=f"?details={value}").json
    assert set(details) == {
        "prediction", "confidence", "probabilities", "model_version", "warnings",
    }  # fmt: skip
    assert details["model_version"] == VERSION
    assert details["warnings"] == []
    assert len(details["probabilities"]) == 10
    assert sum(details["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert details["confidence"] == details["probabilities"][7] == max(details["probabilities"])


@pytest.mark.parametrize("value", ["0", "false"])
def test_an_option_can_be_switched_off(client, value):
    assert post(client, two_lines(7), query=f"?details={value}&segment={value}").json == {
        "prediction": 7
    }


def mixed(first, second, share):
    """A picture of two bands, the second lighter or darker than the first."""
    one, other = (
        np.asarray(Image.open(io.BytesIO(two_lines(digit)))).astype(float)
        for digit in (first, second)
    )
    return encoded(Image.fromarray(np.rint(np.maximum(one, other * share)).astype(np.uint8)))


@pytest.mark.parametrize(("share", "warnings"), [(1.0, [UNSURE]), (0.95, [])])
def test_only_low_confidence_causes_a_warning(client, share, warnings):
    details = post(client, mixed(3, 8, share), query="?details=1").json
    assert (details["confidence"] < 0.6) == bool(warnings)
    assert details["confidence"] < 0.9
    assert details["warnings"] == warnings


def test_a_28x28_picture_in_mnists_form_reaches_the_model_unchanged(client):
    sent = np.asarray(Image.open(io.BytesIO(two_lines(3))))
    assert (seen_by_model(client, encoded(Image.fromarray(sent))) == sent).all()


def test_several_pictures_are_answered_in_upload_order_with_their_names(client):
    assert post(client, two_lines(1), two_lines(9), two_lines(4)).json == {
        "predictions": [
            {"file": "0.png", "prediction": 1},
            {"file": "1.png", "prediction": 9},
            {"file": "2.png", "prediction": 4},
        ]
    }


def test_one_bad_picture_does_not_fail_the_others(client):
    response = post(client, two_lines(1), b"not a picture", b"", two_lines(4))
    first, unknown, empty, last = response.json["predictions"]
    assert response.status_code == 200
    assert (first["prediction"], last["prediction"]) == (1, 4)
    assert set(unknown) == set(empty) == {"file", "error"}
    assert "PNG" in unknown["error"]
    assert "empty" in empty["error"]


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "application/octet-stream"])
def test_a_picture_may_be_the_body(client, content_type):
    response = client.post("/predict", data=two_lines(5), content_type=content_type)
    assert response.json == {"prediction": 5}


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_json_body_carries_pictures_in_base64(client, prefix):
    one = client.post("/predict", json={"image": in_base64(two_lines(5), prefix)})
    several = {"images": [in_base64(two_lines(digit), prefix) for digit in (2, 8)]}
    assert one.json == {"prediction": 5}
    assert client.post("/predict", json=several).json == {
        "predictions": [{"file": "0", "prediction": 2}, {"file": "1", "prediction": 8}]
    }


def test_segment_lists_the_digits_from_left_to_right_with_boxes_in_pixels_of_the_upload(client):
    answer = post(client, encoded(row_of_two()), query="?segment=1&details=1&image=1").json
    assert set(answer) == {"digits", "model_version", "warnings"}
    first, second = answer["digits"]
    assert set(first) == {"prediction", "confidence", "probabilities", "image", "box"}
    assert np.abs(np.array(first["box"]) - [300, 100, 200, 400]).max() < 20
    assert np.abs(np.array(second["box"]) - [1500, 150, 200, 400]).max() < 20


def test_segment_keeps_the_digits_of_several_pictures_apart(client):
    answer = post(client, encoded(row_of_two()), encoded(drawing()), query="?segment=true").json
    assert [len(each["digits"]) for each in answer["predictions"]] == [2, 1]
    assert [each["file"] for each in answer["predictions"]] == ["0.png", "1.png"]
    assert set(answer["predictions"][1]["digits"][0]) == {"prediction", "box"}


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("PNG", drawing("1", 0, 1)),
        ("PNG", drawing("L")),
        ("PNG", drawing("LA", (0, 255), (0, 0))),
        ("PNG", transparent_palette()),
        ("PNG", drawing("RGB", "navy")),
        ("PNG", drawing("RGBA", "black", (0, 0, 0, 0))),
        ("PNG", sixteen_bits(drawing())),
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


def test_uploads_need_no_temporary_files(client, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    large = encoded(drawing("L").resize((1200, 900)), "BMP")
    assert len(large) > 1_000_000
    assert post(client, large).status_code == 200


def test_a_picture_of_almost_four_mebibytes_is_read(client):
    large = encoded(drawing("L").resize((2000, 2000)), "BMP")
    assert 3_900_000 < len(large) < 4 * 2**20
    assert post(client, large).status_code == 200


def test_the_file_name_may_have_any_characters(client):
    names = ("Ziffer 3 – größe.png", 'a"b.png')
    for name in names:
        response = client.post(
            "/predict",
            data={"file": [(io.BytesIO(two_lines(3)), name), (io.BytesIO(two_lines(4)), name)]},
        )
        assert [each["prediction"] for each in response.json["predictions"]] == [3, 4]
    assert client.post(
        "/predict",
        data=b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff.png"\r\n\r\n'
        + two_lines(3)
        + b"\r\n--b--\r\n",
        content_type="multipart/form-data; boundary=b",
    ).json == {"prediction": 3}
