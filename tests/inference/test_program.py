import pytest
import torch

from unimatch.errors import WeightsError
from unimatch.inference.program import SMALLEST, Program, smallest


def test_the_least_side_is_the_largest_multiple_that_is_not_above_it_and_at_least_one():
    for multiple in range(1, 100):
        expected = max(range(multiple, SMALLEST + 1, multiple), default=multiple)
        assert smallest(multiple) == expected


@pytest.mark.parametrize("facts", [None, "{}"])
def test_a_program_without_its_facts_is_refused_by_its_name(facts, tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"")
    if facts is not None:
        (tmp_path / "model.pt2.json").write_text(facts)
    with pytest.raises(WeightsError, match=r"model\.pt2"):
        Program(tmp_path / "model.pt2", torch.device("cpu"))
