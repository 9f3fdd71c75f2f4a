"""docs/api.md and openapi.json are true: examples, limits, routes and responses.

... in the output of an example matches anything, and a number with a decimal point any other.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import schemathesis
from app import create_app
from gunicorn_server import running
from hypothesis import HealthCheck, settings
from PIL import Image
from programs import ROOT
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tiny_model import encoded, write_model
from vision import image
from vision.image import ImageError, open_image

TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
COMMANDS = [
    example.split("\n", 1)
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```\n\n^```(?:json|text)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL
)
LIMITS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("in millions of pixels:\n\n")[2].partition("\n\n")[0].splitlines()
]
SAVED_AS = {
    "JPEG": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    **{name: (name, {}) for name in ("PNG", "BMP", "GIF", "TIFF", "WebP")},
}
# schemathesis needs the application when this file is imported.
FOLDER = tempfile.TemporaryDirectory()
APP = create_app(write_model(Path(FOLDER.name) / "model.onnx", "aaaaaaaaaaaa"))
OPENAPI = json.loads((ROOT / "inference" / "openapi.json").read_text(encoding="utf-8"))
schema = schemathesis.openapi.from_wsgi("/openapi.json", APP)
schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "405", "413", "415"]
MODES = {
    "black and white": "1",
    "gray": "L",
    "16-bit gray": "I;16",
    "color": "RGB",
    "palette": "P",
    "with alpha": "RGBA",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, mnist_model_file):
    folder = tmp_path_factory.mktemp("server")
    with running(folder, MODEL_PATH=str(mnist_model_file)) as server:
        sample = (ROOT / "samples" / "digits" / "7.png").read_bytes()
        assert server.ask("POST", "/predict", sample, "image/png")[0] == 200  # For /metrics.
        yield server


def output_of(command: str | list[str]) -> str:
    options = {"shell": isinstance(command, str), "cwd": ROOT, "text": True, "timeout": 60}
    done = subprocess.run(command, capture_output=True, **options)
    return done.stdout + done.stderr


def assert_matches(output: str, documented: str) -> None:
    def without_numbers(text: str) -> str:
        return re.sub(r"\b\d+(\.\d+(e[-+]\d+)?|e[-+]\d+)\b", "N", text.strip())

    pattern = ".*".join(map(re.escape, without_numbers(documented).split("...")))
    assert re.fullmatch(pattern, without_numbers(output), re.DOTALL), output


@pytest.mark.parametrize(("command", "documented"), COMMANDS)
def test_a_command_has_the_output_in_the_documentation(server, command, documented):
    output = output_of(command.replace("localhost:5000", f"127.0.0.1:{server.port}"))
    if not command.endswith("/metrics"):
        assert_matches(output, documented)
        return
    for line in documented.splitlines():  # Their order depends on which worker's file comes first.
        assert_matches(output, f"...\n{line}\n...")


@pytest.mark.parametrize(("program", "documented"), PROGRAMS)
def test_a_program_has_the_output_in_the_documentation(server, program, documented):
    program = program.replace("localhost:5000", f"127.0.0.1:{server.port}")
    assert_matches(output_of([sys.executable, "-c", program]), documented)


def test_every_example_is_found():
    assert len(COMMANDS) == TEXT.count("\n$ ")
    assert len(PROGRAMS) == TEXT.count("```python") == 1


def picture(mode: str, width: int, height: int) -> Image.Image:
    new = Image.new(mode, (width, height))
    if mode == "P":
        new.putpalette(bytes(range(256)) * 3)
    return new


def limited_cells() -> list[tuple[str, str, float, int]]:
    """Return format, kind of picture, millions of pixels and shorter side, for each limit."""
    kinds, _, *rows = LIMITS
    cells = [
        (row[0], kind, float(cell), 3000)
        for row in rows
        for kind, cell in zip(kinds[1:], row[1:], strict=True)
        if cell
    ]
    narrow = re.search(r"720 pixels it may have (\S+) million pixels, or (\S+) if it", TEXT)
    cells += [("JPEG", "color", float(narrow[1]), 719)]
    return cells + [("JPEG, progressive", "color", float(narrow[2]), 719)]


@pytest.mark.parametrize(("name", "kind", "millions", "side"), limited_cells())
def test_the_limit_of_a_format_is_the_one_in_the_documentation(
    monkeypatch, name, kind, millions, side
):
    # All lengths are a tenth of the real ones, to be fast.
    monkeypatch.setattr(image, "MAX_PIXELS", image.MAX_PIXELS / 100)
    monkeypatch.setattr(image, "MAX_DECODED_BYTES", image.MAX_DECODED_BYTES / 100)
    monkeypatch.setattr(image, "DRAFT_SIDE", image.DRAFT_SIDE / 10)
    height, (format, options) = side // 10, SAVED_AS[name]
    allowed, refused = (
        encoded(picture(MODES[kind], width, height), format, **options)
        for width in (
            math.floor(millions * 1e4 / height),
            math.ceil((millions + 0.1) * 1e4 / height),
        )
    )
    open_image(allowed)
    with pytest.raises(ImageError) as raised:
        open_image(refused)
    assert raised.value.reason == "too_large"


# The transport of schemathesis does not close the files of the page.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@schema.parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_responses_are_those_of_openapi_json(case):
    # A request that fits the description may still carry an empty picture or too few values.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


def test_openapi_json_has_every_route_and_method_and_no_others():
    described = {
        (re.sub(r"{.*?}", "<>", path), method.upper())
        for path, operations in OPENAPI["paths"].items()
        for method in operations
    }
    routes = {
        (re.sub(r"<.*?>", "<>", rule.rule), method)
        for rule in APP.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == routes


def test_openapi_json_has_every_file_of_the_page_and_no_others():
    (filename,) = OPENAPI["paths"]["/page/{filename}"]["get"]["parameters"]
    files = sorted(path.name for path in (ROOT / "inference" / "page").iterdir())
    assert filename["schema"]["enum"] == files
