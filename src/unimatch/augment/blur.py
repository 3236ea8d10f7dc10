"""Blurs an image as Pillow does, and so the reference: by three box blurs in a row."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unimatch.augment.base import Image


def blurred(image: Image, sigma: float) -> Image:
    """Returns an image after a Gaussian blur of a standard deviation in pixels.

    The image is mirrored at its border, with the outermost pixels repeated. This comes nearest to Pillow, which repeats
    these pixels before each of its three box blurs.
    """
    kernel = blur_kernel(sigma)
    return np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT), np.uint8)


def blur_kernel(sigma: float) -> NDArray[np.float32]:
    """Returns the weights, of sum 1, of three box blurs in a row, as in Pillow and so in the reference.

    The outermost pixels of a box count in part, so that the standard deviation is exactly ``sigma``, even for fractions
    of a pixel, where a sampled Gaussian would spread less. Source: Gwosdek et al., Theoretical Foundations of
    Gaussian Convolution by Extended Box Filtering, 2011.

    >>> blur_kernel(0.5).round(3)
    array([0.   , 0.005, 0.105, 0.78 , 0.105, 0.005, 0.   ], dtype=float32)
    """
    variance = sigma**2 / 3  # of each box
    inner = int((np.sqrt(12 * variance + 1) - 1) / 2)  # pixels on either side that count in full
    outer = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance) / (6 * (variance - (inner + 1) ** 2))
    box = np.array([outer, *[1.0] * (2 * inner + 1), outer]) / (2 * inner + 1 + 2 * outer)
    return np.convolve(np.convolve(box, box), box).astype(np.float32)
