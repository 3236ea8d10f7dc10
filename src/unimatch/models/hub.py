"""The Hugging Face hub, from which encoders' weights come: a machine without a network is not kept waiting for it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session

from unimatch.errors import WeightsError, first_line

log = logging.getLogger("unimatch")

ATTEMPTS, PAUSE, PATIENCE = 3, 1.0, 5.0
"""How often the hub is asked for an answer, seconds between, and seconds for each answer."""


def answers() -> bool:
    """Returns whether the hub answers anything at all, also that it is overloaded."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
        except Exception as error:  # its client has been two libraries, with errors of their own
            log.debug("%s does not answer: %s", constants.ENDPOINT, error)
        else:
            return True
    return False


@contextmanager
def within_reach() -> Iterator[None]:
    """Makes the hub's client go by what it has stored, at once, where the hub does not answer.

    By itself the client asks for each file again and again, about a minute for one encoder.
    """
    if constants.HF_HUB_OFFLINE or answers():
        yield
        return
    log.warning("%s does not answer; taking what was downloaded before", constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def no_download(name: str, source: str, error: Exception) -> WeightsError:
    """Returns what to say of weights that the hub's client could not get, for which it raises many kinds of error."""
    return WeightsError(
        f"the weights of {name} could not be downloaded ({type(error).__name__}: {first_line(error)}). Download "
        f"{source} from the Hugging Face hub on a machine with network access and give the file, "
        "encoder.weights=FILE (in Python weights=FILE), or train from scratch with encoder.weights=null (weights=None)"
    )
