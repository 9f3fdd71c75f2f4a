"""Damaged and unusual input never causes a server error."""

import numpy as np
import pytest
from app import create_app
from fuzz import fuzz
from PIL import Image
from tiny_model import encoded, write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the damage.
def test_2000_damaged_pictures_cause_no_server_error(model):
    result = fuzz(model, 2000)
    assert not result.failures, result.statuses
    assert {200, 415, 422} <= set(result.statuses) <= {200, 400, 413, 415, 422}


@pytest.mark.parametrize("segment", [0, 1])
def test_a_short_dash_is_read_or_rejected(model, segment):
    page = np.full((60, 100), 255, np.uint8)
    page[10:12, 20:26] = 0
    client = create_app(model).test_client()
    data = encoded(Image.fromarray(page))
    response = client.post(f"/predict?segment={segment}", data=data, content_type="image/png")
    assert response.status_code in (200, 422)


def test_a_file_name_that_is_not_utf_8_is_accepted(model):
    data = encoded(Image.new("L", (28, 28)))
    part = b'--e\r\nContent-Disposition: form-data; name="file"; filename="\xe9.png"\r\n\r\n'
    client = create_app(model).test_client()
    response = client.post(
        "/predict", data=(part + data + b"\r\n") * 2 + b"--e--\r\n",
        content_type="multipart/form-data; boundary=e",
    )  # fmt: skip
    assert response.status_code == 200
    assert [each["file"] for each in response.json["predictions"]] == ["\ufffd.png"] * 2
