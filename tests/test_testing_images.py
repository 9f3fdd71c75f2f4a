"""The pictures of MNIST's test set, made here from a small set of IDX archives of our own."""

import os

import mnist
import numpy as np
import pytest
import testing_images
from conftest import idx
from drawing.synthetic import draw_digits
from PIL import Image

LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6]


@pytest.fixture
def images() -> np.ndarray:
    return draw_digits(len(LABELS), seed=5)[0]


@pytest.fixture
def data_dir(images, tmp_path, monkeypatch):
    """A folder with four archives of the official names, whose training half is of other data."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    other = np.full((3, 28, 28), 99, np.uint8), np.array([8, 8, 8], np.uint8)
    archives = {}
    for name, array in zip(mnist.ARCHIVES, (*other, images, np.uint8(LABELS)), strict=True):
        (folder / name).write_bytes(idx(array))
        archives[name] = mnist.md5(idx(array))
    monkeypatch.setattr(mnist, "ARCHIVES", archives)
    monkeypatch.setattr(mnist, "PUBLIC_MIRRORS", ())
    monkeypatch.setattr(mnist, "ATTEMPTS", 1)
    return folder


def test_each_test_image_is_a_picture_named_by_its_label_and_its_place(data_dir, tmp_path, capsys):
    target = tmp_path / "new" / "testing"
    assert testing_images.main([str(data_dir), str(target)]) == os.EX_OK
    written = {str(path.relative_to(target)) for path in target.rglob("*.*")}
    assert written == {f"{label}/{index}.jpg" for index, label in enumerate(LABELS)}
    assert capsys.readouterr().out == f"wrote 12 pictures as {target}/DIGIT/INDEX.jpg\n"


def test_a_jpeg_has_almost_the_pixels_of_its_image(data_dir, images, tmp_path):
    assert testing_images.main([str(data_dir), str(tmp_path / "testing")]) == os.EX_OK
    for index, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        with Image.open(tmp_path / "testing" / str(label) / f"{index}.jpg") as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (28, 28))
            difference = np.asarray(picture, float) - image
        assert np.sqrt((difference**2).mean()) < 5  # of 255


def test_archives_of_different_lengths_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        testing_images.write_images(images, np.uint8(LABELS[:-1]), tmp_path)


@pytest.mark.parametrize(
    ("mirror", "code"), [("http://127.0.0.1:1", os.EX_UNAVAILABLE), ("ftp://x", 2)]
)
def test_without_archives_the_message_and_the_exit_code_are_those_of_training(
    data_dir, tmp_path, monkeypatch, capsys, mirror, code
):
    monkeypatch.setenv("MNIST_MIRROR", mirror)
    (data_dir / list(mnist.ARCHIVES)[2]).unlink()
    assert testing_images.main([str(data_dir), str(tmp_path / "testing")]) == code
    error = capsys.readouterr().err
    assert error.startswith("testing_images: ")
    assert mirror in error
    assert not (tmp_path / "testing").exists()


def test_an_output_folder_that_cannot_be_written_has_its_own_exit_code(data_dir, tmp_path, capsys):
    (tmp_path / "testing").write_text("a file where the folder should be")
    assert testing_images.main([str(data_dir), str(tmp_path / "testing")]) == os.EX_CANTCREAT
    assert capsys.readouterr().err.startswith("testing_images: cannot write the pictures: ")
