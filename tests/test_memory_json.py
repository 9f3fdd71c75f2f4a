"""The peak memory of a worker stays below 250 MB for JSON bodies and for bulk inference."""

import base64
import json

import numpy as np
import pytest
from gunicorn_server import running_one_worker
from inference_requests import bulk_inference, json_inference
from PIL import Image
from tiny_model import convolution_bytes, encoded

MAX_PEAK_MB = 250
JSON = "application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_one_worker(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def convolution(tmp_path_factory):
    """A server whose model takes about 100 kB for each image of a batch."""
    folder = tmp_path_factory.mktemp("convolution")
    model = folder / "convolution.onnx"
    model.write_bytes(convolution_bytes("aaaaaaaaaaaa"))
    with running_one_worker(folder, MODEL_PATH=str(model)) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "make", "expected"),
    [
        ("/predict", lambda: base64_json(jpeg_noise()), {200, 422}),
        ("/predict", lambda: b"[" * 4_000_000, {400}),
        ("/predict", lambda: b'{"images": [' + b'"",' * 1_300_000 + b'""]}', {400, 413}),
        ("/v2/models/mnist/infer", lambda: json_inference(1330), {200}),
        ("/v2/models/mnist/infer", lambda: b'{"inputs": [' + b"{}," * 690_000 + b"{}]}", {400}),
        ("/v2/models/mnist/infer", lambda: json_inference(4000), {413}),
    ],
    ids=["base64", "nested", "many empty", "2 MiB of pixels", "2 MiB of objects", "6 MiB"],
)
def test_a_json_body_takes_little_memory(server, path, make, expected):
    body, statuses = make(), set()
    peak = server.peak_mb(lambda: statuses.add(server.ask("POST", path, body, JSON)[0]))
    print(f"peak of JSON: {peak:.0f} MB")
    assert statuses <= expected
    assert peak < MAX_PEAK_MB


def base64_json(data: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(data).decode()}).encode()


@pytest.mark.parametrize("binary_output", [True, False])
def test_10000_images_in_one_request_take_little_memory(convolution, binary_output):
    body, headers = bulk_inference(binary_output)
    statuses = set()

    def ask():
        connection = convolution.connect()
        connection.request("POST", "/v2/models/mnist/infer", body, headers)
        statuses.add(connection.getresponse().status)
        connection.close()

    peak = convolution.peak_mb(ask)
    print(f"peak of 10,000 images: {peak:.0f} MB")
    assert statuses == {200}
    assert peak < MAX_PEAK_MB


def jpeg_noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (3300, 3300), np.uint8)
    return encoded(Image.fromarray(pixels).convert("RGB"), "JPEG", quality=15)
