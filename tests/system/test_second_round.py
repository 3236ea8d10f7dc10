"""docs/second_round.md, followed, and what its files hold."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.pages import ROOT, follow
from unimatch.data import folder
from unimatch.images.arrays import read_mask


@pytest.mark.slow
@pytest.mark.nightly
def test_pseudo_labels_of_the_unlabelled_pool_are_read_and_trained_on(tmp_path, monkeypatch):
    follow(ROOT / "docs" / "second_round.md", tmp_path, monkeypatch)

    own = Path("own.txt").read_text().splitlines()
    pseudo = Path("pseudo/pseudo_labels.txt").read_text().splitlines()
    unlabeled = sorted(str(path.absolute()) for path in Path("photos/unlabeled").iterdir())
    assert len(own) == 12
    assert pseudo
    assert {line.split()[0] for line in pseudo} <= set(unlabeled)

    data = folder("photos", labeled_list="second.txt", unlabeled="train", allow_outside=True)
    assert len(data.labeled) == len(own) + len(pseudo)
    assert len(data.unlabeled) == 24
    assert len(data.val) == 3
    unsure = 0
    for i, line in enumerate(pseudo, start=len(own)):
        written = read_mask(Path(line.split()[1]))
        np.testing.assert_array_equal(data.labeled.mask(i), written)
        assert (written < 11).any()
        assert set(np.unique(written)) <= {*range(11), 255}
        unsure += np.count_nonzero(written == 255)
    assert unsure  # the threshold of the page's test leaves some out

    summary = json.loads(Path("second/summary.json").read_text())
    assert (summary["labeled"], summary["unlabeled"], summary["steps"]) == (len(data.labeled), 24, 4)
