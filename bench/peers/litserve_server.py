"""LitServe with two workers: MODEL_PATH=... PORT=5000 python litserve_server.py."""

import os

import litserve
from eager import load_predictor
from fastapi import Request


class DigitAPI(litserve.LitAPI):
    """The interface that LitServe asks for."""

    def setup(self, device: str) -> None:
        self.predict_digit = load_predictor()

    def decode_request(self, request: Request) -> bytes:
        return request["file"].file.read()

    def predict(self, data: bytes) -> int:
        return self.predict_digit(data)

    def encode_response(self, digit: int) -> dict[str, int]:
        return {"prediction": digit}


if __name__ == "__main__":
    server = litserve.LitServer(DigitAPI(), accelerator="cpu", workers_per_device=2)
    server.run(port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
