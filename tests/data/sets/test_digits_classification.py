import pytest

from helpers.class_data import names_of
from unimatch import ConfigError
from unimatch.data import digits_classification


def test_digits_are_scikit_learns():
    data = digits_classification(size=8)
    assert len(data.labeled) == 40
    assert len(data.val) == 300
    assert len(data.test) == 449
    assert len(data.unlabeled) == 1797 - 449 - 300
    assert data.labeled.image(0).shape == (8, 8, 3)
    everything = set(names_of(data.unlabeled)) | set(names_of(data.val))
    assert len(everything) == 1348
    assert data.test.image(0).max() == 255
    with pytest.raises(ConfigError, match=r"size=4"):
        digits_classification(size=4)
