"""Servers and test clients of the server, with models of tiny_model.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from app import create_app
from flask.testing import FlaskClient
from gunicorn_server import Server, running_tiny
from tiny_model import write_model


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory) -> Iterator[Server]:
    """A real server with two workers and a model of tiny_model.py, which no request may end."""
    with running_tiny(tmp_path_factory.mktemp("server"), WEB_CONCURRENCY="2") as server:
        yield server
        assert len(server.workers()) == 2
        assert "Traceback" not in server.read_log()


@pytest.fixture
def model_path(tmp_path) -> Path:
    """The path of a model of tiny_model.py."""
    return write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")


@pytest.fixture
def client(model_path) -> FlaskClient:
    """Flask's test client of the server with the model of `model_path`."""
    return create_app(model_path).test_client()
