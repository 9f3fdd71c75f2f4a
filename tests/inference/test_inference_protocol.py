"""The Open Inference Protocol: an unmodified Triton client, and requests that are malformed."""

from contextlib import closing

import numpy as np
import pytest
import tritonclient.http as triton
from tiny_model import assert_error
from tritonclient.utils import InferenceServerException

VERSION = "aaaaaaaaaaaa"
INFER = "/v2/models/mnist/infer"


@pytest.fixture
def triton_client(tiny_server):
    with closing(triton.InferenceServerClient(f"127.0.0.1:{tiny_server.port}")) as client:
        yield client


def lines(digits):
    """Return images uint8 [N, 28, 28] that the tiny model reads as these digits."""
    images = np.zeros((len(digits), 28, 28), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        image[[13 - digit, 14 + digit], 4:24] = 255
    return images


def infer(client, images, binary=True, **options):
    tensor = triton.InferInput("image", images.shape, "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return client.infer("mnist", [tensor], **options)


def test_the_client_sees_a_live_and_ready_server_and_its_metadata(triton_client):
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("mnist")
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton_client.get_model_metadata("mnist")
    assert metadata["versions"] == [VERSION]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert metadata["outputs"][0]["shape"] == [-1, 10]


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "json in"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["bytes", "json", "default"])
def test_json_and_binary_tensors_give_the_same_probabilities(triton_client, binary_in, binary_out):
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = infer(triton_client, lines(range(10)), binary_in, outputs=outputs, request_id="a b é")
    rows = result.as_numpy("probabilities")
    assert (rows.shape, rows.dtype) == ((10, 10), np.float32)
    assert rows.argmax(axis=1).tolist() == list(range(10))
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("a b é", VERSION)


@pytest.mark.parametrize(
    ("images", "binary", "message", "status"),
    [
        (np.zeros((1, 28, 27), np.uint8), True, "shape", "400"),
        (np.zeros((0, 28, 28), np.uint8), False, "shape", "400"),
        (np.full((1200, 28, 28), 255, np.uint8), False, "2 MiB", "413"),
        (np.zeros((10_700, 28, 28), np.uint8), True, "8 MiB", "413"),
    ],
)
def test_the_client_gets_the_error_of_the_server(triton_client, images, binary, message, status):
    with pytest.raises(InferenceServerException, match=message) as raised:
        infer(triton_client, images, binary)
    assert raised.value.status() == status


VALID = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
WRONG_TENSORS = [
    *({"name": "x"}, {"datatype": "FP32"}, {"parameters": None}),
    {"parameters": {"binary_data_size": 784}},
    *({"shape": shape} for shape in ([-1, 28, 28], [10**30, 28, 28], [784], None)),
    *({"data": [value] * 784} for value in (True, "0", 0.0, -1)),
    *({"data": data} for data in ([256] + [0] * 783, [[0] * 784, 0], None, "0" * 784)),
]
WRONG_REQUESTS = [
    *({"inputs": [VALID | wrong]} for wrong in WRONG_TENSORS),
    *([], None, {"inputs": []}, {"inputs": [VALID, VALID]}, {"inputs": [VALID], "id": 7}),
    {"inputs": [VALID], "outputs": [{"name": "logits"}]},
    *({"inputs": [VALID], "parameters": wrong} for wrong in ({"binary_data_output": "yes"}, 7)),
]


@pytest.mark.parametrize("content", WRONG_REQUESTS)
def test_each_rule_is_enforced(client, content):
    assert_error(client.post(INFER, json=content), 400, "must be|N, 28, 28|only output")


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b'{"inputs": ['])
def test_a_body_that_is_not_json_is_rejected(client, body):
    assert_error(client.post(INFER, data=body), 400, "must be JSON")


@pytest.mark.parametrize("length", ["100000", "-1", "many", "9" * 5000])
def test_the_length_of_the_json_must_be_within_the_body(client, length):
    headers = {"Inference-Header-Content-Length": length}
    response = client.post(INFER, json={"inputs": [VALID]}, headers=headers)
    assert_error(response, 400, "Inference-Header-Content-Length is|must be JSON")
