"""The pictures of MNIST's test set, made here from a small set of IDX archives of our own."""

import numpy as np
import pytest
import testing_images
from click.testing import CliRunner
from drawing.synthetic import draw_digits
from idx_files import save_archives
from PIL import Image

LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6]


@pytest.fixture
def images() -> np.ndarray:
    return draw_digits(len(LABELS), seed=5)[0]


@pytest.fixture
def data_dir(images, tmp_path, monkeypatch):
    """A folder with four archives of the official names, whose training half is of other data."""
    other = np.full((3, 28, 28), 99, np.uint8), np.array([8, 8, 8], np.uint8)
    folder = tmp_path / "mnist"
    folder.mkdir()
    return save_archives(folder, (*other, images, np.uint8(LABELS)), monkeypatch)


def run(data_dir, target):
    return CliRunner().invoke(testing_images.main, [str(data_dir), str(target)])


def test_each_test_image_is_a_jpeg_named_by_its_label_and_its_place(data_dir, images, tmp_path):
    target = tmp_path / "new" / "testing"
    assert run(data_dir, target).output == f"wrote 12 pictures as {target}/DIGIT/INDEX.jpg\n"
    assert len(list(target.rglob("*.*"))) == 12
    for index, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        with Image.open(target / str(label) / f"{index}.jpg") as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (28, 28))
            difference = np.asarray(picture, float) - image
        assert np.sqrt((difference**2).mean()) < 5  # of 255


def test_without_mnist_the_exit_code_is_that_of_training(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", "ftp://x")
    result = run(tmp_path / "none", tmp_path / "testing")
    assert result.exit_code == 2
    assert "ftp://x" in result.output
    assert not (tmp_path / "testing").exists()
