"""The page as a whole in a real Chromium: layout, colors, model, path, errors."""

import re
from pathlib import Path

import numpy as np
import pytest
from pen import PHONE, draw, expect_answer, upload
from playwright.sync_api import expect
from tiny_model import write_model

PAGE = Path(__file__).parents[3] / "inference" / "page"
# Colors and their backgrounds, and the least contrast by WCAG 2.2 (1.4.3 and 1.4.11).
TEXTS = "ink ground, ink surface, muted ground, muted surface, muted track, accent surface, "
TEXTS += "on-accent accent, warn-ink warn, bad-ink bad"
CONTRASTS = {4.5: TEXTS, 3: "control ground, accent track"}


@pytest.mark.parametrize("width", [320, 375])
def test_the_page_fits_the_width_of_a_phone(open_page, server, width):
    page = open_page(server, **{**PHONE, "viewport": {"width": width, "height": 812}})
    draw(page, 8)
    expect_answer(page, "8")
    page.get_by_role("button", name="8", exact=True).click()
    upload(page, "a-name-of-a-file-that-goes-on-and-on" * 3, b"not a picture")
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_role("button", name="Camera")).to_be_visible()
    assert page.get_attribute("#camera", "capture") == "environment"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_have_enough_contrast(open_page, server, scheme):
    page = open_page(server, color_scheme=scheme)

    def luminance(name):
        """Return the relative luminance, as WCAG 2.2 defines it, of a color of the page."""
        color = page.evaluate(
            """name => {
                document.body.style.color = `var(--${name})`;
                return getComputedStyle(document.body).color.match(/\\d+/g).map(Number);
            }""",
            name,
        )
        parts = np.array(color) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    assert (luminance("ground") < luminance("ink")) == (scheme == "dark")
    for least, pairs in CONTRASTS.items():
        for pair in pairs.split(", "):
            dark, light = sorted(luminance(name) for name in pair.split())
            assert (light + 0.05) / (dark + 0.05) >= least, pair


def test_a_server_without_a_model_is_explained_until_the_model_appears(open_page, serve, tmp_path):
    with serve(tmp_path / "model.onnx") as base:
        page = open_page(base)
        away = page.locator("#away")
        words = page.request.get(f"{base}/readyz").json()["error"]
        expect(away).to_have_text(f"{words} Trying again every 3 seconds.")
        # The model must appear after this answer, or no retry would be needed.
        with page.expect_response("**/predict*"):
            draw(page, 7)
        expect(away).to_be_visible()
        assert page.inner_text("#digit") == "?"
        write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")
        expect(away).to_be_hidden()
        expect(page.locator("#digit")).to_have_text(re.compile(r"^\d$"))
        expect(page.locator("#model")).to_contain_text("Model aaaaaaaaaaaa")
        page.close()  # Before the server: the page may be sending a request.


def test_a_server_that_cannot_be_reached_is_explained_until_it_is_back(page, problems):
    expect(page.locator("#model")).to_contain_text("Model")
    page.context.set_offline(True)
    draw(page, 7)
    expect(page.locator("#away")).to_contain_text("The server cannot be reached.")
    page.context.set_offline(False)
    expect(page.locator("#away")).to_be_hidden()
    expect_answer(page, "7")
    problems[:] = [problem for problem in problems if "ERR_INTERNET_DISCONNECTED" not in problem]


def test_the_page_names_the_model_its_accuracy_and_its_data(page, server):
    model = page.request.get(f"{server}/version").json()["model"]
    line = page.locator("#model")
    expect(line).to_contain_text(f"Model {model['model_version']}")
    expect(line).to_contain_text(f"{100 * float(model['test_accuracy']):.2f}% accuracy")
    expect(line).to_contain_text("trained on synthetic digits")
    expect(line).to_contain_text("It was trained without any handwriting")


def test_warnings_of_the_server_are_shown(page):
    def warn(route):
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "warnings": ["One.", "Two."]})

    page.route("**/predict*", warn)
    draw(page, 7)
    expect_answer(page, "7")
    assert page.locator("#warnings li").all_inner_texts() == ["One.", "Two."]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#warnings")).to_be_hidden()


def test_the_page_works_under_a_sub_path(open_page, server):
    # gunicorn accepts this header from a reverse proxy on the same machine.
    page = open_page(f"{server}/mnist/", extra_http_headers={"SCRIPT_NAME": "/mnist"})
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.reload()
    draw(page, 7)
    expect_answer(page, "7")
    expect(page.locator("#model")).to_contain_text("Model")
    own = [url for url in urls if not url.startswith(("data:", "blob:"))]
    assert [url for url in own if not url.startswith(f"{server}/mnist/")] == []
    modules = {f"{server}/mnist/page/{path.name}" for path in PAGE.glob("*.js")}
    assert modules <= set(own)


def test_a_bad_file_is_explained_in_the_servers_words(page, server):
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"}
    answer = page.request.post(f"{server}/predict", multipart={"file": notes})
    assert answer.status == 415
    upload(page, "notes.txt", notes["buffer"])
    expect(page.get_by_role("alert")).to_have_text(answer.json()["error"])
    expect(page.locator("#hint")).to_contain_text("notes.txt")
    draw(page, 7)
    expect_answer(page, "7")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_an_answer_that_is_not_json_is_reported_with_its_status(page):
    page.route("**/predict*", lambda route: route.fulfill(status=502, body="<html>Bad Gateway"))
    draw(page, 7)
    expect(page.get_by_role("alert")).to_have_text("The server answered 502 without JSON.")
