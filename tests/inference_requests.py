"""Large requests of the Open Inference Protocol, for tests of the server."""

import json


def inference(images: int) -> dict:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [images, 28, 28]}
    return {"inputs": [tensor]}


def json_inference(images: int) -> bytes:
    content = inference(images)
    content["inputs"][0]["data"] = [0] * (784 * images)
    return json.dumps(content, separators=(",", ":")).encode()


def bulk_inference(binary_output: bool) -> tuple[bytes, dict[str, str]]:
    content = inference(10_000)
    content["inputs"][0]["parameters"] = {"binary_data_size": 7_840_000}
    content["parameters"] = {"binary_data_output": binary_output}
    header = json.dumps(content).encode()
    return header + bytes(7_840_000), {"Inference-Header-Content-Length": str(len(header))}
