"""Chromium, a pen that draws on the page, and what the page shows, for tests and screenshots.

with chromium() as browser:
    page = browser.new_page()
    page.goto("http://localhost:5000")
    draw(page, 7)
    expect_answer(page, "7")
"""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect, sync_playwright

# Pages answer in milliseconds, but not on a busy machine.
expect.set_options(timeout=60_000)
# The strokes of each digit: lists of points in percent of the paper's sides, in drawing order.
STROKES = json.loads(Path(__file__).with_name("strokes.json").read_text())
PHONE = {"viewport": {"width": 375, "height": 812}, "is_mobile": True, "has_touch": True}


def find_chromium() -> str | None:
    """Return the program that CHROMIUM names, or a Chromium on the PATH, or None."""
    named = os.environ.get("CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium for the length of a with block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


def draw(page: Page, digit: int, size: float = 1, left: float = 0) -> None:
    """Draw a digit with the mouse, at `size` of the paper, from `left` of its width (0 to 1)."""
    for stroke in STROKES[str(digit)]:
        points = on_paper(
            page, [(left * 100 + size * x, (1 - size) * 50 + size * y) for x, y in stroke]
        )
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def on_paper(page: Page, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the position in the window, in pixels, of points in percent of the paper's sides."""
    page.locator("#paper").scroll_into_view_if_needed()
    paper = page.locator("#paper").bounding_box()
    return [
        (paper["x"] + paper["width"] * x / 100, paper["y"] + paper["height"] * y / 100)
        for x, y in points
    ]


def photo(digit: int) -> Image.Image:
    """Return a picture of a digit in ink on paper, RGB, 420x300 pixels."""
    image = Image.new("RGB", (420, 300), "#e8e4da")
    for stroke in STROKES[str(digit)]:
        points = [(60 + 3 * x, 3 * y) for x, y in stroke]
        ImageDraw.Draw(image).line(points, fill="#22305a", width=16, joint="curve")
    return image


def upload(page: Page, name: str, content: bytes) -> None:
    """Choose a file as with the Upload button."""
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


def expect_answer(page: Page, digits: str) -> None:
    """Wait for the final answer, such as "7" or "4 2", which only comes with the pen lifted."""
    expect(page.locator("#bars")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#spoken")).to_have_text(re.compile(rf"^{digits}, .*\d%"))
    expect(page.locator("#digit")).to_have_text(digits.replace(" ", ""))


def expect_no_answer(page: Page) -> None:
    """Wait until the page shows that there is nothing to recognize."""
    expect(page.locator("#digit")).to_have_text("?")
    expect(page.locator("#spoken")).to_be_empty()


def model_input(page: Page) -> np.ndarray:
    """Return the picture next to the answer, uint8 [28, 28]."""
    uri = page.get_attribute("#input img", "src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
