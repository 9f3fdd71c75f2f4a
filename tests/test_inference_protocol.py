"""The Open Inference Protocol: an unmodified Triton client, and requests that are malformed."""

import json
from contextlib import closing

import numpy as np
import pytest
import tritonclient.http as triton
from app import create_app
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_model import encoded, write_model
from tritonclient.utils import InferenceServerException

VERSION = "aaaaaaaaaaaa"
INFER = "/v2/models/mnist/infer"
BULK = 10_000


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


def test_the_probabilities_equal_those_of_predict(triton_client, tiny_server):
    rng = np.random.default_rng(0)
    images = lines([3, 8]) // 4 * rng.integers(1, 4, (2, 28, 28), np.uint8)
    rows = infer(triton_client, images).as_numpy("probabilities")
    for image, row in zip(images, rows, strict=True):
        png = encoded(Image.fromarray(image))
        status, answer = tiny_server.ask("POST", "/predict?details=1", png, "image/png")
        assert status == 200
        np.testing.assert_allclose(answer["probabilities"], row, atol=1e-6)


def test_one_binary_request_carries_10_000_images(triton_client):
    digits = np.random.default_rng(0).integers(0, 10, BULK).tolist()
    images = lines(digits)
    rows = infer(triton_client, images).as_numpy("probabilities")
    assert rows.argmax(axis=1).tolist() == digits


@pytest.mark.parametrize(
    ("images", "binary", "message", "status"),
    [
        (np.zeros((1, 28, 27), np.uint8), True, "shape", "400"),
        (np.zeros((0, 28, 28), np.uint8), False, "shape", "400"),
        (np.full((1200, 28, 28), 255, np.uint8), False, "2 MiB", "413"),
        (np.full((4500, 28, 28), 255, np.uint8), False, "8 MiB", "413"),
        (np.zeros((10_700, 28, 28), np.uint8), True, "8 MiB", "413"),
    ],
)
def test_the_client_gets_the_error_of_the_server(triton_client, images, binary, message, status):
    with pytest.raises(InferenceServerException, match=message) as raised:
        infer(triton_client, images, binary)
    assert raised.value.status() == status


def test_the_client_gets_the_error_for_an_unknown_model_or_output(triton_client):
    with pytest.raises(InferenceServerException, match="nothing at this path"):
        triton_client.get_model_metadata("other")
    with pytest.raises(InferenceServerException, match="The only output is 'probabilities'"):
        infer(triton_client, lines([1]), outputs=[triton.InferRequestedOutput("logits")])


NUMBERS = st.sampled_from([-1, 0, 1, 28, 784, 2**63, 10**400, 1.5, float("nan"), 1e308])
SCALARS = NUMBERS | st.sampled_from([True, False, None, "", "28", "\ud800", "image", "UINT8"])
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
DATA = st.sampled_from([[0] * 784, [[0] * 28] * 28, [0] * 783, [0.0] * 784, [True] * 784, ["0"]])
VALID = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
PLACES = ("inputs", "outputs", "parameters", "id", "name", "datatype", "shape", "data", "size")


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    changes=st.dictionaries(st.sampled_from(PLACES), ANYTHING | DATA, max_size=2),
    length=st.none() | st.sampled_from(["-1", "0", "20", "99999999", "1e3", "x", "", "9" * 5000]),
    tail=st.binary(max_size=4),
    nesting=st.sampled_from([0, 0, 0, 100_000]),
)
def test_a_malformed_request_is_the_fault_of_the_client(
    flask_client, changes, length, tail, nesting
):
    tensor = VALID | {key: changes[key] for key in VALID if key in changes}
    if "size" in changes:
        tensor["parameters"] = {"binary_data_size": changes["size"]}
    content = {"inputs": [tensor]}
    content |= {key: changes[key] for key in PLACES[:4] if key in changes}
    body = b"[" * nesting + json.dumps(content).encode() + tail
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    response = flask_client.post(INFER, data=body, headers=headers)
    assert response.status_code < 500
    if response.status_code != 200:
        assert set(response.json) == {"error"}


@pytest.fixture(scope="module")
def flask_client(tmp_path_factory):
    model = write_model(tmp_path_factory.mktemp("model") / "model.onnx", VERSION)
    return create_app(model).test_client()


def assert_bad_request(client, content, **headers):
    response = client.post(INFER, data=json.dumps(content), headers=headers)
    assert response.status_code == 400
    assert set(response.json) == {"error"}


WRONG_IN_A_TENSOR = {
    "name": ["x"],
    "datatype": ["FP32"],
    "shape": [[-1, 28, 28], [10**30, 28, 28], [784], None, "1,28,28"],
    "data": [
        *([value] * 784 for value in (True, "0", 0.0, float("nan"), -1)),
        *([256] + [0] * 783, [[0] * 784, 0], None, {}, "0" * 784),
    ],
    "parameters": [{"binary_data_size": 784}, None],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in WRONG_IN_A_TENSOR for value in WRONG_IN_A_TENSOR[name]],
)
def test_each_rule_of_a_tensor_is_enforced(flask_client, name, value):
    assert_bad_request(flask_client, {"inputs": [VALID | {name: value}]})


@pytest.mark.parametrize(
    "content",
    [
        *([], None, 7, {"inputs": []}, {"inputs": [VALID, VALID]}),
        *({"inputs": [VALID], "id": wrong} for wrong in (7, True, ["a"], {"a": 1})),
        {"inputs": [VALID], "parameters": {"binary_data_output": "yes"}},
        {"inputs": [VALID], "outputs": [{"name": "logits"}]},
    ],
)
def test_each_rule_of_a_request_is_enforced(flask_client, content):
    assert_bad_request(flask_client, content)


@pytest.mark.parametrize("length", ["100000", "-1", "many"])
def test_the_length_of_the_json_must_be_within_the_body(flask_client, length):
    headers = {"Inference-Header-Content-Length": length}
    assert_bad_request(flask_client, {"inputs": [VALID]}, **headers)
