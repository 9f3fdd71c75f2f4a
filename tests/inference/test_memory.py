"""Two workers fit into the memory limit of a Pod, whatever a request contains."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gunicorn_server import running_tiny
from inference_requests import binary_inference, json_inference
from manifest_files import INFERENCE
from PIL import Image
from tiny_model import encoded, multipart

SERVER = INFERENCE["Deployment"]["spec"]["template"]["spec"]["containers"][0]
POD_LIMIT_MB = int(SERVER["resources"]["limits"]["memory"].removesuffix("Mi")) * 2**20 / 1e6
# gunicorn's own process takes about 30 MB, each of two workers the half of the rest.
MAX_PEAK_MB = min(250, (POD_LIMIT_MB - 30) / 2)


@pytest.fixture(scope="module")
def server(tmp_path_factory, model_file):
    """A server with a real model, which takes more memory than a tiny one."""
    with running_tiny(tmp_path_factory.mktemp("server"), MODEL_PATH=str(model_file)) as server:
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
ALL = ("/predict?segment=1&details=1&image=1", "")  # 32 of one picture, in a form
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
    "32 WebP": (ALL, lambda: [blank("RGB", 5.8, "WEBP", lossless=True)], 200),
    "32 pictures of 112 strokes": (ALL, lambda: [strokes(112)], 200),
    "32 pictures of noise": (ALL, lambda: [noise(0.5, quality=5)], 200),
    "10000 images": (INFER, lambda: binary_inference(10_000, False), 200),
    "2 MiB of objects": (INFER, lambda: b'{"inputs": [' + b"{}," * 690_000 + b"{}]}", 400),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_large_request_takes_little_memory(server, case):
    (path, kind), make, expected = REQUESTS[case]
    body, headers = make(), {"Content-Type": kind}
    if isinstance(body, list):
        body, headers["Content-Type"] = multipart(*body * 32)
    elif isinstance(body, tuple):
        body, headers = body
    statuses = []
    peak = server.peak_mb(
        lambda: statuses.append(server.request("POST", path, body, headers)[0].status)
    )
    print(f"peak: {peak:.0f} MB")
    assert statuses == [expected]
    assert peak < MAX_PEAK_MB


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
            answers = pool.map(
                lambda body: server.ask("POST", "/predict", body, "image/png"), bodies
            )
        statuses.update(status for status, _ in answers)

    peak = server.peak_mb(ask)
    print(f"peak of several at once: {peak:.0f} MB")
    assert statuses <= {200, 422, 503}
    assert peak < MAX_PEAK_MB
