"""The peak memory of a worker stays below 250 MB, whatever a request contains."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gunicorn_server import running_tiny
from inference_requests import binary_inference, json_inference
from PIL import Image
from tiny_model import encoded, multipart

MAX_PEAK_MB = 250
POD_LIMIT_MB = 512 * 2**20 / 1e6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_tiny(tmp_path_factory.mktemp("server")) as server:
        yield server


def blank(mode: str, megapixels: float, format: str, **options) -> bytes:
    side = int((megapixels * 1e6) ** 0.5)
    return encoded(Image.new(mode, (side, side)), format, **options)


def noise(megapixels: float, **options) -> bytes:
    """Return a JPEG whose size is near the limit of a request, which is the dearest to decode."""
    side = int((megapixels * 1e6) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 255, (side, side), np.uint8)
    return encoded(Image.fromarray(pixels).convert("RGB"), "JPEG", **options)


def strokes(count: int) -> bytes:
    """Return a PNG of 960x960 with `count` short strokes."""
    page = np.full((960, 960), 255, np.uint8)
    for index in range(count):
        row, column = divmod(index, 12)
        page[20 + 80 * row : 70 + 80 * row, 30 + 75 * column : 38 + 75 * column] = 0
    return encoded(Image.fromarray(page), "PNG")


def palette_with_alpha(megapixels: float) -> bytes:
    return blank("P", megapixels, "PNG", transparency=b"\x80" * 256)


def base64_json() -> bytes:
    return json.dumps({"image": base64.b64encode(noise(10.9, quality=15)).decode()}).encode()


PNG, JSON = ("/predict", "image/png"), ("/predict", "application/json")
INFER = ("/v2/models/mnist/infer", "application/json")
# Bodies and statuses. Pictures just below the limit of their format are served; the WebP above it
# must be rejected before it is opened.
REQUESTS = {
    "WebP with alpha": (PNG, lambda: blank("RGBA", 5.8, "WEBP", lossless=True), 422),
    "WebP of 16 megapixels": (PNG, lambda: blank("RGB", 16, "WEBP", lossless=True), 413),
    "progressive JPEG": (PNG, lambda: noise(12, progressive=True, quality=2), 200),
    "baseline JPEG": (PNG, lambda: blank("RGB", 39, "JPEG"), 422),
    "palette PNG with alpha": (PNG, lambda: palette_with_alpha(12.4), 422),
    "TIFF": (PNG, lambda: blank("RGB", 12.4, "TIFF", compression="tiff_deflate"), 422),
    "16-bit PNG": (PNG, lambda: blank("I;16", 12.4, "PNG"), 422),
    "base64": (JSON, base64_json, 200),
    "nested JSON": (JSON, lambda: b"[" * 4_000_000, 400),
    "2 MiB of pixels": (INFER, lambda: json_inference(1330), 200),
    "2 MiB of objects": (INFER, lambda: b'{"inputs": [' + b"{}," * 690_000 + b"{}]}", 400),
}


def peak_of(server, path: str, body: bytes, content_type: str, status: int) -> float:
    """Return the peak in MB during a request with this status."""
    statuses = []
    peak = server.peak_mb(lambda: statuses.append(server.ask("POST", path, body, content_type)[0]))
    print(f"peak: {peak:.0f} MB")
    assert statuses == [status]
    return peak


@pytest.mark.parametrize("case", REQUESTS)
def test_a_large_request_takes_little_memory(server, case):
    (path, content_type), make, status = REQUESTS[case]
    assert peak_of(server, path, make(), content_type, status) < MAX_PEAK_MB


@pytest.mark.parametrize(
    "make",
    [
        lambda: blank("RGB", 5.8, "WEBP", lossless=True),
        lambda: strokes(112),
        lambda: noise(0.5, quality=5),
    ],
    ids=["WebP", "112 strokes", "noise"],
)
def test_32_pictures_in_one_request_take_little_memory(server, make):
    body, content_type = multipart(*[make()] * 32)
    path = "/predict?segment=1&details=1&image=1"
    assert peak_of(server, path, body, content_type, 200) < MAX_PEAK_MB


@pytest.mark.parametrize(
    ("make", "path"),
    [(lambda: blank("L", 5, "PNG"), "/predict"), (lambda: strokes(112), "/predict?segment=1")],
    ids=["pixels", "digits"],
)
def test_pictures_past_the_limit_of_a_request_are_rejected(server, make, path):
    status, answer = server.ask("POST", path, *multipart(*[make()] * 32))
    assert status == 200
    rejected = ["of one request" in each.get("error", "") for each in answer["predictions"]]
    assert not rejected[0]
    assert rejected[-5:] == [True] * 5


def test_several_heavy_requests_at_once_take_little_memory(server):
    """One after the other is decoded; all at once they would take over 600 MB."""
    bodies = [noise(12, progressive=True, quality=2), palette_with_alpha(12.4)] * 4
    bodies += [blank("RGB", 5.8, "WEBP", lossless=True)] * 4
    statuses = set()

    def ask():
        with ThreadPoolExecutor(len(bodies)) as pool:
            tasks = [
                pool.submit(server.ask, "POST", "/predict", body, "image/png") for body in bodies
            ]
        statuses.update(task.result()[0] for task in tasks)

    peak = server.peak_mb(ask)
    print(f"peak of several at once: {peak:.0f} MB")
    assert statuses <= {200, 422, 503}
    assert peak < MAX_PEAK_MB
    # Two workers and gunicorn's own process, of about 30 MB, fit into the Pod.
    assert 2 * peak + 30 < POD_LIMIT_MB


def test_10000_images_in_one_request_take_little_memory(tmp_path, model_file):
    body, headers = binary_inference(10_000, False)
    responses = []
    with running_tiny(tmp_path, MODEL_PATH=str(model_file)) as server:
        peak = server.peak_mb(
            lambda: responses.append(server.request("POST", INFER[0], body, headers))
        )
    assert responses[0][0].status == 200
    print(f"peak: {peak:.0f} MB")
    assert peak < MAX_PEAK_MB
