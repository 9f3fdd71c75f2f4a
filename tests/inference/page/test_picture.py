"""Drawings and photos on the page in a real Chromium, against a real server."""

import io
import re

import numpy as np
import pytest
from pen import (
    PHONE,
    STROKES,
    draw,
    expect_answer,
    expect_no_answer,
    model_input,
    on_paper,
    photo,
    upload,
)
from PIL import Image
from playwright.sync_api import expect
from tiny_model import encoded
from uploads import MAX_REQUEST_BYTES


def test_a_digit_drawn_by_hand_is_recognized(page):
    bars = page.get_by_role("meter")
    for digit in range(10):
        draw(page, digit)
        expect_answer(page, str(digit))
        values = [float(bar.get_attribute("aria-valuenow")) for bar in bars.all()]
        assert int(np.argmax(values)) == digit
        assert sum(values) == pytest.approx(1, abs=1e-3)
        assert bars.nth(digit).get_attribute("aria-valuetext") in page.inner_text("#sure")
        page.keyboard.press("Escape")
        expect_no_answer(page)


def test_an_answer_comes_before_the_pen_is_lifted(page):
    points = on_paper(page, STROKES["7"][0])
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
        page.wait_for_timeout(10)
    expect(page.locator("#digit")).to_have_text(re.compile(r"^\d$"))
    expect(page.locator("#spoken")).to_be_empty()
    page.mouse.up()
    expect_answer(page, "7")


def test_a_new_request_cancels_the_previous_one_whose_late_answer_is_not_shown(page):
    held = []
    page.route("**/predict*", lambda route: route.continue_() if held else held.append(route))
    draw(page, 7)
    expect_answer(page, "7")
    held[0].fulfill(json={"prediction": 0})
    page.wait_for_timeout(200)
    expect_answer(page, "7")
    assert held[0].request.failure == "net::ERR_ABORTED"


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
    expect_answer(page, "5")
    assert page.evaluate("scrollY") == 0


def test_a_drawing_is_sent_as_a_png_without_alpha_on_white(page):
    # Playwright does not show the content of files in a request.
    page.evaluate(
        """() => {
            const realFetch = fetch;
            window.fetch = (url, options) => {
                window.sent = options?.body?.get('file') ?? window.sent;
                return realFetch(url, options);
            };
        }"""
    )
    draw(page, 7)
    expect_answer(page, "7")
    content = page.evaluate("async () => Array.from(new Uint8Array(await sent.arrayBuffer()))")
    image = Image.open(io.BytesIO(bytes(content)))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (280, 280))
    pixels = np.asarray(image)
    assert (pixels[:10] == 255).all()
    assert pixels.min() == 0
    assert 0.02 < (pixels < 128).mean() < 0.2


def test_each_of_several_digits_has_a_box_a_picture_and_a_confidence(page):
    page.get_by_label("Several digits").check()
    draw(page, 4, size=0.5)
    draw(page, 2, size=0.5, left=0.5)
    expect_answer(page, "4 2")
    paper = page.locator("#paper").bounding_box()
    for box, digit, left in zip(page.locator("#boxes b").all(), (4, 2), (0, 0.5), strict=True):
        drawn = np.concatenate(STROKES[str(digit)]) / 100 * 0.5 + (left, 0.25)
        found = box.bounding_box()
        corner = np.array([found["x"] - paper["x"], found["y"] - paper["y"]]) / paper["width"]
        size = np.array([found["width"], found["height"]]) / paper["width"]
        assert corner == pytest.approx(drawn.min(axis=0), abs=0.04)
        assert corner + size == pytest.approx(drawn.max(axis=0), abs=0.04)
        assert box.get_attribute("data-digit") == str(digit)
    captions = page.locator("#inputs figcaption").all_inner_texts()
    assert [caption.partition(":")[0] for caption in captions] == ["4", "2"]
    shares = [float(re.search(r"[\d.]+", caption.partition(":")[2])[0]) for caption in captions]
    assert f"{min(shares)}%" in page.inner_text("#sure")
    page.get_by_label("Several digits").uncheck()
    expect(page.locator("#boxes b")).to_have_count(0)
    expect(page.locator("#input img")).to_be_visible()
    expect(page.locator("#inputs img")).to_have_count(0)


def test_the_keyboard_alone_is_enough(page):
    def press_tab_until(identity):
        for _ in range(20):
            page.keyboard.press("Tab")
            active = page.evaluate(
                "document.activeElement.id || document.activeElement.textContent"
            )
            if active == identity:
                return page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        raise AssertionError(f"Tab does not reach {identity}")

    assert press_tab_until("choose") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "3.png", "mimeType": "image/png", "buffer": encoded(photo(3))})
    expect_answer(page, "3")
    expect(page.locator("#hint")).to_be_hidden()
    assert press_tab_until("3") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_contain_text("1 correction saved")
    page.keyboard.press("Escape")
    expect_no_answer(page)
    page.keyboard.press("Control+z")
    expect_answer(page, "3")
    before = model_input(page)
    page.locator("#paper").click(position={"x": 100, "y": 20})  # A dot.
    expect(page.locator("#bars")).to_have_attribute("aria-busy", "false")
    assert not np.array_equal(model_input(page), before)
    page.keyboard.press("Control+z")
    expect_answer(page, "3")
    assert np.array_equal(model_input(page), before)
    page.keyboard.press("Delete")
    expect_no_answer(page)


def test_the_undo_button_takes_back_one_step_after_another(page):
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_disabled()
    draw(page, 7)
    expect_answer(page, "7")
    upload(page, "3.png", encoded(photo(3)))
    expect_answer(page, "3")
    undo.click()
    expect_answer(page, "7")
    for _ in STROKES["7"]:
        undo.click()
    expect_no_answer(page)
    expect(undo).to_be_disabled()


def test_a_picture_is_dropped_or_pasted_and_other_things_are_explained(page):
    def bring(way, name, kind, content):
        page.evaluate(
            """([way, name, type, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name, { type }));
                const options = { bubbles: true, cancelable: true };
                document.getElementById('paper').dispatchEvent(way === 'drop'
                    ? new DragEvent('drop', { dataTransfer: data, ...options })
                    : new ClipboardEvent('paste', { clipboardData: data, ...options }));
            }""",
            [way, name, kind, list(content)],
        )

    for way, digit in (("drop", 3), ("paste", 4)):
        bring(way, "photo.jpg", "image/jpeg", encoded(photo(digit), "JPEG"))
        expect_answer(page, str(digit))
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData('text/plain', '3');
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));
        }"""
    )
    expect(page.get_by_role("alert")).to_have_text("That is not a picture file.")


def test_a_photo_over_the_servers_limit_is_reduced_before_it_is_sent(page):
    content = encoded(photo(3).resize((1680, 1200)), "BMP")
    assert len(content) > MAX_REQUEST_BYTES
    upload(page, "photo.bmp", content)
    expect_answer(page, "3")
