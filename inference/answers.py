"""From probabilities to response: what /predict answers for each picture.

options = read_options(request.args, model)
answer = encode_answer(uploads, readings, model, options)
"""

import base64
import io
from typing import NamedTuple

import numpy as np
from classifier import Model
from flask import abort
from PIL import Image
from uploads import Upload
from vision.reading import Reading
from werkzeug.datastructures import MultiDict

# Confidence is calibrated: below this, more than two answers in five would be wrong.
UNSURE_BELOW = 0.6
UNSURE = "The model is not sure: this may not be a digit."
UNSURE_OF_CLASS = "The model is not sure: this may be none of its classes."
SEVERAL = "More than one digit seems to be drawn: this is the largest."
# Reasons why a picture cannot be used, and the HTTP status of each.
STATUS = {
    "empty": 400,
    "too_large": 413,
    "unknown_format": 415,
    "damaged": 422,
    "nothing_drawn": 422,
}
VALUES = {"1": True, "true": True, "0": False, "false": False}


class Options(NamedTuple):
    """The parameters of the query string, all optional, of the form NAME=1 or NAME=true."""

    details: bool = False
    image: bool = False
    segment: bool = False


def read_options(parameters: MultiDict[str, str], model: Model) -> Options:
    """Return the options of a request; abort with 400 for one that is unknown or does not fit."""
    if not parameters:
        return Options()
    known = ", ".join(Options._fields)
    for name, value in parameters.items(multi=True):
        if name not in Options._fields:
            abort(400, f"Unknown parameter {name!r}: the parameters are {known}.")
        if value.lower() not in VALUES:
            abort(400, f"{name}={value} is not valid: use {name}=1 or {name}=0.")
    options = Options(**{name: VALUES[value.lower()] for name, value in parameters.items()})
    if options.segment and model.reads_whole:
        abort(400, "segment=1 reads several digits, but this model reads each picture as a whole.")
    return options


def encode_answer(
    uploads: list[Upload], readings: list[Reading], model: Model, options: Options
) -> dict:
    """Return the answer for all pictures of a request, which this model has classified.

    One picture has its answer alone, and aborts the request if it cannot be used. Of several, each
    has its file name and either its answer or its error.
    """
    answers = []
    for upload, reading in zip(uploads, readings, strict=True):
        if reading.error is None:
            answer = encode_picture(reading, model, options)
        elif len(uploads) == 1:
            abort(STATUS[reading.error.reason], str(reading.error))
        else:
            answer = {"error": str(reading.error)}
        answers.append({"file": upload.name} | answer)
    return answer if len(uploads) == 1 else {"predictions": answers}


def encode_picture(reading: Reading, model: Model, options: Options) -> dict:
    """Return the answer for one picture."""
    digits = [
        encode_digit(digit, probabilities, model.classes, options)
        for digit, probabilities in zip(reading.digits, reading.probabilities, strict=True)
    ]
    if options.segment:
        boxed = zip(digits, reading.boxes, strict=True)
        answer = {"digits": [digit | {"box": box} for digit, box in boxed]}
    else:
        answer = digits[0]
    if options.details:
        unsure = reading.probabilities.max(axis=1).min() < UNSURE_BELOW
        answer["model_version"] = model.version
        warning = UNSURE_OF_CLASS if model.reads_whole else UNSURE
        answer["warnings"] = [SEVERAL] * reading.more + [warning] * bool(unsure)
    return answer


def encode_digit(
    digit: np.ndarray, probabilities: np.ndarray, classes: list[str], options: Options
) -> dict:
    """Return the answer for one digit, uint8 [28, 28], with its probabilities, float32 [10].

    classes are the ten names, or none for digits.
    """
    answer: dict = {"prediction": int(probabilities.argmax())}
    if classes:
        answer["label"] = classes[answer["prediction"]]
    if options.details:
        rounded = [round(float(p), 6) for p in probabilities]
        answer |= {"confidence": max(rounded), "probabilities": rounded}
    if options.image:
        answer["image"] = data_uri(digit)
    return answer


def data_uri(digit: np.ndarray) -> str:
    """Return uint8 [28, 28] as a PNG in a data: URI."""
    png = io.BytesIO()
    Image.fromarray(digit).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
