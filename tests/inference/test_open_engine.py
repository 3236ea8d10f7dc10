from dataclasses import replace

import pytest

from helpers.support import save_run
from unimatch import ConfigError
from unimatch.images.bands import Bands
from unimatch.inference.load import load_with_facts
from unimatch.inference.open_engine import check_alike


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return load_with_facts(save_run(tmp_path_factory.mktemp("run") / "best.ckpt", "nowhere")).facts


def test_models_that_vote_have_the_same_classes_bands_and_dates(facts):
    check_alike(["a.ckpt", "b.ckpt"], [facts, replace(facts, size_multiple=14)])
    other = replace(facts, classes=("sky", "sea"))
    with pytest.raises(ConfigError, match=r"^b\.ckpt: has other classes than a\.ckpt \(sky, sea; sky, building"):
        check_alike(["a.ckpt", "b.ckpt"], [facts, other])
    with pytest.raises(ConfigError, match=r"^model 3: has other dates than model 1 \(2; 1\)"):
        check_alike([object()] * 3, [facts, facts, replace(facts, dates=2)])
    check_alike(["a.ckpt", "b.ckpt"], [facts, replace(facts, bands=Bands(mean=(0.5,) * 3))])
    infrared = Bands((4, 3, 2), [(0, 4095)] * 3)
    with pytest.raises(ConfigError, match=r"^b\.ckpt: has other bands than a\.ckpt \(\(4, 3, 2\), values .*; RGB"):
        check_alike(["a.ckpt", "b.ckpt"], [facts, replace(facts, bands=infrared)])
