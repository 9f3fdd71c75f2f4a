"""The Open Inference Protocol, version 2, as KServe, MLServer and Triton clients speak it.

inference = decode_inference(body, header_length)
body, headers = encode_inference(inference, model_version, probabilities)

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and Triton's binary tensor extension (docs/protocol/extension_binary_data.md): a JSON header, whose
length the header Inference-Header-Content-Length gives, followed by the bytes of the tensor.
"""

import json
from itertools import chain
from typing import NamedTuple

import numpy as np
from classifier import Model
from flask import abort

MODEL_NAME = "mnist"
HEADER_LENGTH = "Inference-Header-Content-Length"
INPUT = {"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}
OUTPUT = {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
SERVER_METADATA = {
    "name": "mnist-inference",
    "version": "2",
    "extensions": ["binary_tensor_data"],
}

# 10,000 images fit in one binary request. Parsed JSON takes up to 30 times its size in memory.
MAX_BINARY_BYTES = 8 * 1024 * 1024
MAX_JSON_BYTES = 2 * 1024 * 1024

USAGE = (
    f"The request must be JSON with one input like {json.dumps(INPUT)} and its data, flat or "
    f"nested integers from 0 to 255, and optionally the output {OUTPUT['name']!r} and an id."
)

# What reading values of unexpected types and shapes from parsed JSON raises.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


class Inference(NamedTuple):
    """A request: images uint8 [N, 28, 28], its id, and whether the answer is sent as bytes."""

    images: np.ndarray
    id: str | None
    binary: bool


def decode_inference(body: bytes, header_length: str | None) -> Inference:
    """Return the request in `body`; abort with 400 if it is not valid, 413 if it is too large."""
    # Werkzeug silently cuts a body without a Content-Length at the limit.
    if len(body) >= MAX_BINARY_BYTES:
        abort(413)
    try:
        end = len(body) if header_length is None else int(header_length)
        if not 0 <= end <= len(body):
            abort(400, f"{HEADER_LENGTH} is {end}, but the body has {len(body)} bytes.")
        if end > MAX_JSON_BYTES:
            limit = f"{MAX_JSON_BYTES // 2**20} MiB"
            abort(413, f"The JSON is larger than {limit}: send the images as binary data.")
        request = json.loads(body[:end])
        (tensor,) = request["inputs"]
        if (tensor["name"], tensor["datatype"]) != (INPUT["name"], INPUT["datatype"]):
            abort(400, USAGE)
        images = decode_tensor(tensor, body[end:])
        identifier = request.get("id")
        if not isinstance(identifier, str | None):
            abort(400, USAGE)
        return Inference(images, identifier, wants_binary(request))
    except MALFORMED:
        abort(400, USAGE)


def decode_tensor(tensor: dict, binary: bytes) -> np.ndarray:
    """Return the images uint8 [N, 28, 28] of an input tensor; abort with 400 on a mismatch."""
    size = tensor.get("parameters", {}).get("binary_data_size", 0)
    if size != len(binary):
        abort(400, f"binary_data_size must be the {len(binary)} bytes that follow the JSON.")
    values = binary or flat_bytes(tensor["data"])
    count = len(values) // 784
    if not count or tensor["shape"] != [count, 28, 28] or len(values) != count * 784:
        abort(400, f"The shape must be [N, 28, 28], and fit the {len(values)} values sent.")
    return np.frombuffer(values, np.uint8).reshape(count, 28, 28)


def flat_bytes(data: list) -> bytes:
    """Return flat or nested lists of integers from 0 to 255 as bytes. Raises TypeError, ValueError.

    numpy would also accept strings and floats, and pad all strings to the length of the longest.
    """
    while data and isinstance(data[0], list):
        data = list(chain.from_iterable(data))
    if set(map(type, data)) - {int}:
        raise TypeError("The data are not integers.")
    return bytes(data)


def wants_binary(request: dict) -> bool:
    """Return whether the client asks for the output as bytes; abort with 400 for another output."""
    wanted = request.get("parameters", {}).get("binary_data_output", False)
    for output in request.get("outputs", []):
        if output["name"] != OUTPUT["name"]:
            abort(400, f"The only output is {OUTPUT['name']!r}.")
        wanted = output.get("parameters", {}).get("binary_data", wanted)
    if not isinstance(wanted, bool):
        abort(400, "binary_data and binary_data_output must be true or false.")
    return wanted


def encode_inference(
    inference: Inference, model_version: str, probabilities: np.ndarray
) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of the response with probabilities, float32 [N, 10]."""
    data = np.ascontiguousarray(probabilities, "<f4")
    output = OUTPUT | {"shape": list(data.shape)}
    content = {"model_name": MODEL_NAME, "model_version": model_version, "outputs": [output]}
    if inference.id is not None:
        content["id"] = inference.id
    if not inference.binary:
        output["data"] = np.round(data.astype(np.float64), 7).ravel().tolist()
        # In pieces, because json.dumps would keep the interpreter lock for the whole response.
        text = "".join(json.JSONEncoder().iterencode(content))
        return text.encode() + b"\n", {"Content-Type": "application/json"}
    output["parameters"] = {"binary_data_size": data.nbytes}
    header = json.dumps(content).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return header + data.tobytes(), headers


def model_metadata(model: Model | None) -> dict:
    """Return the metadata of the model; it has no version until one is loaded."""
    versions = [model.version] if model else []
    described = {"name": MODEL_NAME, "versions": versions, "platform": "onnxruntime_onnx"}
    described |= {"inputs": [INPUT], "outputs": [OUTPUT]}
    if model and model.classes:
        described["parameters"] = {"classes": model.classes}
    return described
