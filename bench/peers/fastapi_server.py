"""FastAPI on uvicorn with two workers: MODEL_PATH=... PORT=5000 python fastapi_server.py."""

import os
from pathlib import Path

import uvicorn
from eager import load_predictor
from fastapi import FastAPI, UploadFile

app = FastAPI()
predict_digit = load_predictor()


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, int]:
    """Read one picture; FastAPI runs this in a thread."""
    return {"prediction": predict_digit(file.file.read())}


if __name__ == "__main__":
    uvicorn.run(
        "fastapi_server:app",
        app_dir=str(Path(__file__).parent),
        port=int(os.environ["PORT"]),
        workers=2,
        log_level="warning",
    )
