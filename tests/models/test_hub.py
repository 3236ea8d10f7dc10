import pytest
from huggingface_hub import constants

from unimatch.models import hub
from unimatch.models.hub import download_error, offline_if_unreachable


@pytest.fixture
def asked(monkeypatch):
    """``asked(answers)``: the hub answers the questions one after the other; what was asked, and for how long."""

    def prepare(answers):
        questions = []

        class Session:
            def head(self, url, timeout):
                questions.append((url, timeout))
                if not answers[len(questions) - 1]:
                    raise OSError("Network is unreachable")

        monkeypatch.setattr(hub, "get_session", Session)
        monkeypatch.setattr(hub, "PAUSE", 0)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        return questions

    return prepare


@pytest.mark.parametrize(("answers", "offline"), [([1], False), ([0, 0, 1], False), ([0, 0, 0], True)])
def test_a_hub_that_does_not_answer_is_left_alone_from_then_on(asked, answers, offline):
    questions = asked(answers)
    with offline_if_unreachable():
        assert constants.HF_HUB_OFFLINE is offline
    assert constants.HF_HUB_OFFLINE is False
    assert questions == [(constants.ENDPOINT, hub.PATIENCE)] * len(answers)


def test_who_has_set_the_client_offline_is_asked_nothing(asked, monkeypatch):
    questions = asked([])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with offline_if_unreachable():
        pass
    assert constants.HF_HUB_OFFLINE is True
    assert not questions


def test_a_failed_download_is_told_in_one_line():
    text = str(download_error("vits", "a file", OSError("no such host\nTraceback: much more")))
    assert "(OSError: no such host). Download a file" in text
    assert "encoder.weights=FILE" in text
    assert "\n" not in text
