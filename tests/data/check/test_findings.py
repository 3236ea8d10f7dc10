import pytest

from unimatch.data.catalog import DIGITS
from unimatch.data.check import FAULTS, WARNINGS
from unimatch.data.check.findings import Part, Report, collect


def test_every_kind_has_a_meaning_and_is_of_one_rank():
    assert not set(FAULTS) & set(WARNINGS)


def test_findings_are_collected_by_kind_and_part_with_faults_first():
    found = [("lossy mask", "test", "b"), ("missing", "test", "x"), ("missing", "val", "y"), ("missing", "test", "z")]
    first, second, third = collect(found)
    assert (first.kind, first.part, first.texts, first.wrong) == ("missing", "test", ("x", "z"), True)
    assert (second.kind, second.part, second.texts) == ("missing", "val", ("y",))
    assert (third.kind, third.wrong) == ("lossy mask", False)
    assert Report(DIGITS, (), (first, third)).wrong
    assert not Report(DIGITS, (), (third,)).wrong


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mising"):
        collect([("mising", "test", "x"), ("missing", "test", "x")])


def test_a_part_counts_every_id_that_a_mask_may_hold():
    assert Part.named("labelled", 3).pixels.shape == (256,)
    assert Part.named("labelled", 1000).showing.shape == (1000,)
