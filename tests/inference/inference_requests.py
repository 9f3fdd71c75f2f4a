"""Requests of the Open Inference Protocol with many empty images, for tests and benchmarks."""

import json


def inference(images: int) -> dict:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [images, 28, 28]}
    return {"inputs": [tensor]}


def json_inference(images: int) -> bytes:
    """The body of a request in JSON."""
    content = inference(images)
    content["inputs"][0]["data"] = [0] * (784 * images)
    return json.dumps(content, separators=(",", ":")).encode()


def binary_inference(images: int, binary_output: bool) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request in binary."""
    content = inference(images)
    content["inputs"][0]["parameters"] = {"binary_data_size": 784 * images}
    content["parameters"] = {"binary_data_output": binary_output}
    header = json.dumps(content).encode()
    return header + bytes(784 * images), {"Inference-Header-Content-Length": str(len(header))}
