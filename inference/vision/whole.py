"""From a gray picture to 28x28 as a whole, for models of other things than digits.

result = read_whole(gray, classify)
"""

import numpy as np
from PIL import Image
from vision.image import ImageError
from vision.ink import VISIBLE
from vision.mnist_form import SIDE, outermost
from vision.reading import Classify, Reading

BLANK = "Nothing can be seen on this picture: send another one."


def read_whole(gray: np.ndarray, classify: Classify) -> Reading:
    """Read uint8 [H, W], resized to 28x28, light on dark. Raises ImageError if it is blank.

    A picture whose border is mostly light is inverted, as those of Fashion-MNIST were (Xiao, Rasul
    and Vollgraf 2017, "Fashion-MNIST", section 2).
    """
    if np.ptp(gray) <= VISIBLE:
        raise ImageError("nothing_drawn", BLANK)
    height, width = gray.shape
    if np.median(outermost(gray)) > 127:
        gray = 255 - gray
    image = np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BOX))
    return Reading([image], classify(image[None]), [(0, 0, width, height)])
