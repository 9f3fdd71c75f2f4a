"""Pictures that are uploaded, dropped or pasted on the page, in a real Chromium."""

import pytest
from pen import draw, expect_answer, photo, upload
from playwright.sync_api import expect
from tiny_model import encoded
from uploads import MAX_REQUEST_BYTES


def test_a_picture_is_chosen_from_a_file(page):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files({"name": "3.png", "mimeType": "image/png", "buffer": encoded(photo(3))})
    expect_answer(page, "3")
    expect(page.locator("#hint")).to_be_hidden()


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
    expect_answer(page, "3")


def test_pasting_text_is_explained(page):
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


def test_the_boxes_of_a_photo_are_on_its_digits(page):
    page.get_by_label("Several digits").check()
    upload(page, "3.png", encoded(photo(3)))
    expect_answer(page, "3")
    paper, box = (page.locator(name).bounding_box() for name in ("#paper", "#boxes b"))
    # The photo is 420 x 300 and has the width of the paper: above it are (420 - 300) / 2 rows.
    middle = (box["y"] + box["height"] / 2 - paper["y"]) / paper["width"]
    assert middle == pytest.approx(0.5, abs=0.05)
    assert box["height"] / paper["width"] == pytest.approx(0.6 * 300 / 420, abs=0.15)


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
