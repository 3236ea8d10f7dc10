"""Answers the page of a classification model."""

from collections.abc import Mapping
from typing import Any

from unimatch.app.files import stored
from unimatch.app.pictures import data_url, shown_step
from unimatch.images.rasters import read_bands
from unimatch.inference.classifier import Classifier

SHOWN_CLASSES = 10
"""How many classes are shown, the most probable ones."""


class Classes:
    """Classifies the images that the page sends.

    Args:
        classifier: the model.
    """

    parts = ("image",)
    """The kinds of files that the page may send for one answer."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def answer(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """Classifies one image and returns what the page shows of it.

        Returns:
            ``photos``: a JPEG as a data URL. ``classes``: index and probability, in percent, of the most probable ones.

        Raises:
            UnimatchError: the file cannot be read, or has too many pixels.
        """
        with stored(files) as paths:
            image = read_bands(paths["image"], self.classifier.bands)
        scores = self.classifier.predict_batch([image])[0].scores
        step = shown_step(image.shape[:2])
        return {
            "photos": [data_url(self.classifier.bands.picture(image[::step, ::step]), "JPEG")],
            "classes": [
                {"index": int(i), "confidence": 100 * float(scores[i])} for i in (-scores).argsort()[:SHOWN_CLASSES]
            ],
        }
