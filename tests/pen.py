"""A real Chromium, and the hand that draws in it: for test_page.py and docs/screenshots.py.

with chromium() as browser: draw(browser.new_page(...), 7)
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

# Digit: its strokes, each a list of points in percent of the paper's sides, in the order drawn.
STROKES = json.loads(Path(__file__).with_name("strokes.json").read_text())
# Quiet: no updates, no look-ups of its own, nothing but what the page does.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Return the program that CHROMIUM names, or a Chromium on the PATH, or None."""
    named = os.environ.get("CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium for as long as the block lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


def draw(page: Page, digit: int, size: float = 1, left: float = 0) -> None:
    """Draw a digit by mouse, at `size` of the paper, from `left` of its width (0 to 1)."""
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
    """Return where points in percent of the paper's sides are in the window, in pixels."""
    page.locator("#paper").scroll_into_view_if_needed()
    paper = page.locator("#paper").bounding_box()
    return [
        (paper["x"] + paper["width"] * x / 100, paper["y"] + paper["height"] * y / 100)
        for x, y in points
    ]
