import numpy as np
import pytest

from unimatch import DataError, Inference
from unimatch.app.time_limit import LimitedEngine, TimeLimit, in_windows


def test_the_model_sees_windows_of_a_bounded_size():
    assert in_windows(Inference()) == Inference(large=1_000_000)
    assert in_windows(Inference(large=500)) == Inference(large=500)
    assert in_windows(Inference("sliding", window=8000, stride=10)) == Inference(
        "sliding", window=1000, large=1_000_000
    )
    with pytest.raises(DataError, match=r"at scale 3 the model would see 9\.0 million pixels at once"):
        LimitedEngine(None, TimeLimit(1)).logits(np.zeros((1, 3, 1000, 1000), np.uint8), 3.0)
