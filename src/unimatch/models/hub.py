"""Access to the Hugging Face hub, from which encoders' weights come: without a network, nothing waits for it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session

from unimatch.errors import WeightsError, first_line

log = logging.getLogger("unimatch")

ATTEMPTS = 3
"""How many times the hub is asked for an answer."""
PAUSE = 1.0
"""Seconds between two attempts."""
PATIENCE = 5.0
"""Seconds to wait for each answer."""


def hub_answers() -> bool:
    """Returns whether the hub answers anything at all, be it that it is overloaded."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
        except Exception as error:  # huggingface_hub has used two HTTP libraries, with different errors
            log.debug("%s does not answer: %s", constants.ENDPOINT, error)
        else:
            return True
    return False


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Makes the hub's client use the files that it has stored, without asking the hub, if the hub does not answer.

    Otherwise the client would ask for each file again and again, for about a minute per encoder.
    """
    if constants.HF_HUB_OFFLINE or hub_answers():
        yield
        return
    log.warning("%s does not answer; taking what was downloaded before", constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def download_error(name: str, source: str, error: Exception) -> WeightsError:
    """Returns the error to raise when weights cannot be downloaded: the hub's client itself raises many kinds.

    Args:
        name: of the encoder.
        source: which file of the hub to download by hand.
        error: what the client raised.
    """
    return WeightsError(
        f"the weights of {name} could not be downloaded ({type(error).__name__}: {first_line(error)}). Download "
        f"{source} from the Hugging Face hub on a machine with network access and give the file, "
        "encoder.weights=FILE (in Python weights=FILE), or train from scratch with encoder.weights=null (weights=None)"
    )
