"""The page in a real Chromium, against the real server: drawn on, dropped on, typed at.

Skipped where Playwright's Python package or a Chromium is missing (CHROMIUM may name one).
"""

import base64
import io
import json
import re
import zipfile
from contextlib import suppress

import mnist
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_model import encoded, write_model

pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is missing")
from pen import STROKES, chromium, draw, find_chromium, on_paper  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.skipif(not find_chromium(), reason="there is no Chromium here")

PHONE = {"viewport": {"width": 375, "height": 812}, "is_mobile": True, "has_touch": True}
REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation',
    event => console.error('violation', event.violatedDirective, event.blockedURI))"""
# An answer of 4xx or 5xx is part of the tests; Chromium mentions each on the console.
HTTP_STATUS = "Failed to load resource: the server responded with a status of"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def problems():
    """What went wrong in the test's pages: errors, violations, requests to anywhere else."""
    return []


@pytest.fixture
def open_page(browser, problems):
    contexts, own = [], ["data:", "blob:", HTTP_STATUS]

    def open_page(base, **options):
        own.append(f"{base}/")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.on("request", lambda request: problems.append(request.url))
        # Without a listener from the start, a dialog can open before Playwright looks for it.
        page.on("filechooser", lambda chooser: None)
        page.goto(base)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not problem.startswith(tuple(own))] == []


@pytest.fixture
def page(open_page, server):
    return open_page(server)


def expect_read(page, digits):
    """Wait for the last answer, which comes after the pen is lifted and is spoken as well."""
    expect(page.locator("#bars")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#spoken")).to_have_text(re.compile(f"^{digits}, .* % sure$"))
    assert page.inner_text("#digit") == digits.replace(" ", "")


def seen_by_the_model(page):
    """The 28x28 pixels beside the answer."""
    uri = page.get_attribute("#saw img", "src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def photo(digit):
    """A picture file of a digit drawn with a pen: dark on light, wider than high."""
    image = Image.new("RGB", (420, 300), "#e8e4da")
    for stroke in STROKES[str(digit)]:
        points = [(60 + 3 * x, 3 * y) for x, y in stroke]
        ImageDraw.Draw(image).line(points, fill="#22305a", width=16, joint="curve")
    return image


def upload(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_drawn_by_hand_is_read(page, digit):
    draw(page, digit)
    expect_read(page, str(digit))
    bars = page.get_by_role("meter")
    values = [float(bar.get_attribute("aria-valuenow")) for bar in bars.all()]
    assert int(np.argmax(values)) == digit
    assert sum(values) == pytest.approx(1, abs=1e-3)
    assert bars.nth(digit).get_attribute("aria-valuetext") in page.inner_text("#sure")
    pixels = seen_by_the_model(page)
    assert pixels.shape == (28, 28)
    assert pixels.max() > 200
    assert pixels[:2].max() == 0


def test_the_answer_comes_before_the_pen_is_lifted(page):
    points = on_paper(page, STROKES["7"][0])
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
        page.wait_for_timeout(10)
    expect(page.locator("#digit")).to_have_text(re.compile(r"^\d$"))
    expect(page.locator("#spoken")).to_be_empty()
    page.mouse.up()
    expect_read(page, "7")


def test_an_answer_that_comes_late_does_not_replace_a_later_one(page):
    held = []
    page.route("**/predict*", lambda route: route.continue_() if held else held.append(route))
    draw(page, 7)
    expect_read(page, "7")
    late = {"prediction": 0, "confidence": 1, "probabilities": [1] + [0] * 9, "warnings": []}
    with suppress(Exception):  # the page has given this request up, and so may Chromium have
        held[0].fulfill(json=late)
    page.wait_for_timeout(200)
    expect_read(page, "7")


def test_a_finger_draws_and_does_not_scroll(open_page, server):
    page = open_page(server, **PHONE)
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        at = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    for stroke in STROKES["5"]:
        points = on_paper(page, stroke)
        send("touchStart", points[0])
        for point in points[1:]:
            send("touchMove", point)
        send("touchEnd")
    expect_read(page, "5")
    assert page.evaluate("scrollY") == 0


def test_a_picture_is_chosen_from_a_file(page):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files({"name": "3.png", "mimeType": "image/png", "buffer": encoded(photo(3))})
    expect_read(page, "3")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page, way):
    page.evaluate(
        """([way, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], '3.jpg', { type: 'image/jpeg' }));
            const options = { bubbles: true, cancelable: true };
            document.getElementById('paper').dispatchEvent(way === 'drop'
                ? new DragEvent('drop', { dataTransfer: data, ...options })
                : new ClipboardEvent('paste', { clipboardData: data, ...options }));
        }""",
        [way, list(encoded(photo(3), "JPEG"))],
    )
    expect_read(page, "3")


def test_a_photo_over_the_servers_limit_is_made_smaller_first(page):
    content = encoded(photo(3).resize((1680, 1200)), "BMP")
    assert len(content) > 5 * 2**20
    upload(page, "photo.bmp", content)
    expect_read(page, "3")


def test_a_bad_file_is_answered_in_the_servers_own_words(page, server):
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"}
    answer = page.request.post(f"{server}/predict", multipart={"file": notes})
    assert answer.status == 415
    upload(page, "notes.txt", notes["buffer"])
    expect(page.get_by_role("alert")).to_have_text(answer.json()["error"])
    expect(page.locator("#hint")).to_contain_text("notes.txt")
    draw(page, 7)
    expect_read(page, "7")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_row_of_digits_is_read_with_a_box_around_each(page):
    page.get_by_label("Several digits").check()
    draw(page, 4, size=0.5)
    draw(page, 2, size=0.5, left=0.5)
    expect_read(page, "4 2")
    paper = page.locator("#paper").bounding_box()
    for box, digit, left in zip(page.locator("#boxes b").all(), (4, 2), (0, 0.5), strict=True):
        drawn = np.concatenate(STROKES[str(digit)]) / 100 * 0.5 + (left, 0.25)
        found = box.bounding_box()
        corner = np.array([found["x"] - paper["x"], found["y"] - paper["y"]]) / paper["width"]
        size = np.array([found["width"], found["height"]]) / paper["width"]
        assert corner == pytest.approx(drawn.min(axis=0), abs=0.04)
        assert corner + size == pytest.approx(drawn.max(axis=0), abs=0.04)


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_scrolls_down_only(open_page, server, width):
    page = open_page(server, **{**PHONE, "viewport": {"width": width, "height": 812}})
    draw(page, 8)
    expect_read(page, "8")
    page.get_by_role("button", name="8", exact=True).click()
    upload(page, "a-name-of-a-file-that-goes-on-and-on" * 3, b"not a picture")
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_role("button", name="Camera")).to_be_visible()
    assert page.get_attribute("#camera", "capture") == "environment"


def test_a_server_without_a_model_is_explained_until_the_model_appears(open_page, serve, tmp_path):
    with serve(tmp_path / "model.onnx") as base:
        page = open_page(base)
        away = page.locator("#away")
        words = page.request.get(f"{base}/readyz").json()["error"]
        expect(away).to_contain_text(words)
        draw(page, 7)
        expect(away).to_be_visible()
        assert page.inner_text("#digit") == "?"
        write_model(tmp_path / "model.onnx", "aaaaaaaaaaaa")
        expect(away).to_be_hidden(timeout=15_000)
        expect(page.locator("#digit")).to_have_text(re.compile(r"^\d$"))
        expect(page.locator("#model")).to_contain_text("Model aaaaaaaaaaaa")
        page.close()  # before the server: the page may be asking it something


def test_the_page_names_the_model_its_accuracy_and_its_data(page, server):
    model = page.request.get(f"{server}/version").json()["model"]
    line = page.locator("#model")
    expect(line).to_contain_text(f"Model {model['model_version']}")
    expect(line).to_contain_text(f"{100 * float(model['test_accuracy']):.2f} %")
    expect(line).to_contain_text("trained on synthetic digits")
    expect(line).to_contain_text("It has never seen handwriting")


def test_nothing_that_is_not_the_pages_own_is_allowed_to_run(page, problems):
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.intruder = true';
            document.body.append(script);
        }"""
    )
    assert page.evaluate("window.intruder") is None
    page.wait_for_timeout(50)
    violations = [problem for problem in problems if "violation" in problem]
    assert violations
    # What this test has provoked itself is no problem of the page.
    problems[:] = [problem for problem in problems if "Content Security Policy" not in problem]
    for violation in violations:
        problems.remove(violation)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(open_page, server, scheme):
    page = open_page(server, color_scheme=scheme)
    draw(page, 7)
    expect_read(page, "7")

    def luminance(name):
        """WCAG 2.2's relative luminance of one of the page's colours."""
        digits = page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name)", f"--{name}"
        ).strip("# ")
        digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        parts = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    assert (luminance("ground") < luminance("ink")) == (scheme == "dark")
    for text, behind, least in [
        ("ink", "ground", 4.5),
        ("ink", "surface", 4.5),
        ("muted", "ground", 4.5),
        ("muted", "surface", 4.5),
        ("muted", "track", 4.5),
        ("accent", "surface", 4.5),
        ("on-accent", "accent", 4.5),
        ("warn-ink", "warn", 4.5),
        ("bad-ink", "bad", 4.5),
        ("control", "ground", 3),
        ("accent", "track", 3),
    ]:
        dark, light = sorted([luminance(text), luminance(behind)])
        assert (light + 0.05) / (dark + 0.05) >= least, (text, behind)


def test_the_keyboard_alone_is_enough(page):
    def press_tab_until(identity):
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id || document.activeElement.textContent") == (
                identity
            ):
                return page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        raise AssertionError(f"Tab does not reach {identity}")

    assert press_tab_until("choose") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "3.png", "mimeType": "image/png", "buffer": encoded(photo(3))})
    expect_read(page, "3")
    assert press_tab_until("3") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_contain_text("1 kept")
    page.keyboard.press("Escape")
    expect(page.locator("#digit")).to_have_text("?")
    page.keyboard.press("Control+z")
    expect_read(page, "3")
    page.keyboard.press("Delete")
    expect(page.locator("#digit")).to_have_text("?")


def test_undo_takes_back_one_stroke(page):
    draw(page, 1, size=0.6, left=0.3)
    expect_read(page, "1")
    before = seen_by_the_model(page)
    page.mouse.down()
    page.mouse.move(100, 300)
    page.mouse.up()
    page.get_by_role("button", name="Undo").click()
    expect_read(page, "1")
    assert np.array_equal(seen_by_the_model(page), before)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#digit")).to_have_text("?")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_corrections_come_back_as_files_that_read_as_mnists(page, tmp_path):
    pictures, labels = [], [2, 9, 4]
    for label in labels:
        draw(page, label)
        expect_read(page, str(label))
        pictures.append(seen_by_the_model(page))
        page.get_by_role("button", name="0", exact=True).click()  # changed one's mind
        page.get_by_role("button", name=str(label), exact=True).click()
        page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("#count")).to_contain_text("3 kept in this browser")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "mnist-corrections.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    assert mnist.read_idx(tmp_path / "train-labels-idx1-ubyte.gz").tolist() == labels
    images = mnist.read_idx(tmp_path / "train-images-idx3-ubyte.gz")
    assert np.array_equal(images, np.stack(pictures))
    page.get_by_role("button", name="Delete them").click()
    expect(page.get_by_role("button", name="Download")).to_be_hidden()
    assert json.loads(page.evaluate("localStorage.getItem('mnist-corrections')")) == []
