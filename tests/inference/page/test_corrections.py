"""Corrections on the page: saved in the browser, and downloaded in MNIST's format."""

import json
import tarfile
import zlib

import numpy as np
from corrections import read_idx
from pen import draw, expect_answer, expect_no_answer, model_input, upload
from playwright.sync_api import expect
from tiny_model import NAMED, NAMES, model_bytes, two_lines

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def correct(page, label):
    page.get_by_role("button", name=str(label), exact=True).click()


def saved(page):
    return json.loads(page.evaluate("localStorage.getItem('mnist-corrections')"))


def test_corrections_are_downloaded_as_a_tar_file_that_reads_as_mnist(page, tmp_path):
    pictures, labels = [], [3, 8, 5]
    for digit, label in zip([2, 9, 4], labels, strict=True):
        draw(page, digit)
        expect_answer(page, str(digit))
        pictures.append(model_input(page))
        correct(page, label)
        page.keyboard.press("Escape")
        expect_no_answer(page)
    page.reload()
    expect(page.locator("#count")).to_have_text("3 corrections saved in this browser")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "mnist-corrections.tar"
    with tarfile.open(download.value.path(), "r:", errorlevel=2) as archive:
        assert archive.getnames() == [IMAGES, LABELS]
        assert [member.mode for member in archive] == [0o644, 0o644]
        archive.extractall(tmp_path, filter="data")
    for name in (IMAGES, LABELS):
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip
        stream.decompress((tmp_path / name).read_bytes())
        assert (stream.eof, stream.unused_data) == (True, b""), name
    assert read_idx((tmp_path / LABELS).read_bytes()).tolist() == labels
    assert np.array_equal(read_idx((tmp_path / IMAGES).read_bytes()), np.stack(pictures))


def test_the_last_of_several_corrections_of_a_picture_counts(page):
    draw(page, 2)
    expect_answer(page, "2")
    correct(page, 0)
    correct(page, 7)
    assert [correction["label"] for correction in saved(page)] == [7]
    pressed = page.get_by_role("group").get_by_role("button", pressed=True)
    expect(pressed).to_have_text("7")
    expect(page.locator("#count")).to_have_text("1 correction saved in this browser")


def test_corrections_can_be_deleted(page):
    draw(page, 2)
    expect_answer(page, "2")
    correct(page, 3)
    page.get_by_role("button", name="Delete").click()
    assert saved(page) == []
    expect(page.get_by_role("button", name="Download")).to_be_hidden()
    expect(page.locator("#count")).to_have_text("Corrections are saved in this browser only.")


def test_a_correction_that_cannot_be_saved_is_reported(page):
    page.evaluate("localStorage.setItem('filler', 'x'.repeat(5 * 2 ** 20 - 100))")
    draw(page, 2)
    expect_answer(page, "2")
    correct(page, 3)
    expect(page.get_by_role("alert")).to_contain_text("The correction was not saved")


def test_without_an_answer_there_is_nothing_to_correct(page):
    for button in page.get_by_role("group").get_by_role("button").all():
        expect(button).to_be_disabled()


def test_classes_have_their_names_on_the_page_and_their_corrections_are_kept_apart(
    open_page, serve, tmp_path
):
    model = model_bytes("aaaaaaaaaaaa", metadata={"reading": "whole", **NAMED})
    (tmp_path / "model.onnx").write_bytes(model)
    with serve(tmp_path / "model.onnx") as base:
        page = open_page(base)
        page.evaluate("localStorage.setItem('mnist-corrections', '[{\"label\": 3}]')")
        expect(page).to_have_title("Upload a picture")
        expect(page.locator("#hint")).to_have_text("Drop, paste or upload a picture")
        expect(page.get_by_label("Several digits")).to_be_hidden()
        upload(page, "picture.png", two_lines(7))
        expect_answer(page, NAMES[7])
        assert page.locator("#bars li.best").inner_text().startswith(NAMES[7])
        correct(page, NAMES[8])
        expect(page.locator("#count")).to_have_text("1 correction saved in this browser")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        with tarfile.open(download.value.path(), "r:") as archive:
            assert archive.getnames() == [IMAGES, LABELS, "classes.json"]
            assert json.load(archive.extractfile("classes.json")) == NAMES
            assert read_idx(archive.extractfile(LABELS).read()).tolist() == [8]
        page.close()
