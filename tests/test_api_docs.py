"""docs/api.md is true: its examples run on a real server, and its limits are those of the code.

... in the output of an example matches anything, and a number with a decimal point any other.
"""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn_server import running
from PIL import Image
from tiny_model import encoded
from vision import image
from vision.image import ImageError, open_image

ROOT = Path(__file__).resolve().parents[1]
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
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def assert_matches(output: str, documented: str) -> None:
    def without_numbers(text: str) -> str:
        return re.sub(r"\b\d+(\.\d+(e[-+]\d+)?|e[-+]\d+)\b", "N", text.strip())

    pattern = ".*".join(map(re.escape, without_numbers(documented).split("...")))
    assert re.fullmatch(pattern, without_numbers(output), re.DOTALL), output


METRICS = [example for example in COMMANDS if example[0].endswith("/metrics")]


@pytest.mark.parametrize(
    ("command", "documented"), [example for example in COMMANDS if example not in METRICS]
)
def test_a_command_has_the_output_in_the_documentation(server, command, documented):
    command = command.replace("localhost:5000", f"127.0.0.1:{server.port}")
    assert_matches(output_of(command), documented)


def test_the_metrics_have_the_lines_in_the_documentation(server):
    """In any order: it depends on which worker's file is read first."""
    ((command, documented),) = METRICS
    output = output_of(command.replace("localhost:5000", f"127.0.0.1:{server.port}"))
    for line in documented.splitlines():
        assert_matches(output, f"...{line}...")


@pytest.mark.parametrize(("program", "documented"), PROGRAMS)
def test_a_program_has_the_output_in_the_documentation(server, program, documented):
    program = program.replace("localhost:5000", f"127.0.0.1:{server.port}")
    assert_matches(output_of([sys.executable, "-c", program]), documented)


def test_every_example_is_found():
    assert len(COMMANDS) == TEXT.count("\n$ ")
    assert len(PROGRAMS) == TEXT.count("```python") == 2


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
