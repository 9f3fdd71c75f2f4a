"""What bench_serving.py compares the server with: a route that only receives the upload.

gunicorn -c inference/gunicorn.conf.py --pythonpath bench bare_app:app
"""

from flask import Flask, Response, request

app = Flask(__name__, static_folder=None)


@app.post("/predict")
def receive() -> Response:
    request.files["file"].read()
    return Response('{"prediction": 7}\n', mimetype="application/json")
