"""The API description is true: schemathesis sends what it allows and what it forbids."""

import json
import re
import tempfile
from pathlib import Path

import pytest
import schemathesis
from app import create_app
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tiny_model import write_model

INFERENCE = Path(__file__).parents[1] / "inference"
DOCUMENT = json.loads((INFERENCE / "openapi.json").read_text(encoding="utf-8"))


# schemathesis needs the application when this file is imported.
FOLDER = tempfile.TemporaryDirectory()
APP = create_app(write_model(Path(FOLDER.name) / "model.onnx", "aaaaaaaaaaaa"))
schema = schemathesis.openapi.from_wsgi("/openapi.json", APP)
schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "405", "413", "415"]


# The transport of schemathesis does not close the files of the page.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@schema.parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_responses_are_those_of_the_description(case):
    # A request that fits the description may still carry an empty picture or too few values.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


def test_the_description_has_every_route_and_method_and_no_others():
    described = {
        (re.sub(r"{.*?}", "<>", path), method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    routes = {
        (re.sub(r"<.*?>", "<>", rule.rule), method)
        for rule in APP.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == routes


def test_the_description_has_every_file_of_the_page_and_no_others():
    (filename,) = DOCUMENT["paths"]["/page/{filename}"]["get"]["parameters"]
    files = sorted(path.name for path in (INFERENCE / "page").iterdir())
    assert filename["schema"]["enum"] == files
