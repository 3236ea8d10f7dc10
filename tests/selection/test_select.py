import inspect
import sys
import tracemalloc

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import unimatch
from helpers.places import ROOT
from unimatch.errors import ConfigError, DataError
from unimatch.selection import ColorDescriber, Description, select
from unimatch.selection.feature_cache import key_of, open_store
from unimatch.selection.patch_clusters import find_kinds
from unimatch.selection.select import PARTITIONS, coverage_of, weights_of

KINDS = {"sea": (30, 60, 200), "forest": (20, 120, 30), "brick": (160, 60, 40)}


def make_photos(folder, *, each=4, size=(40, 56)):
    """Photos of three kinds of places, alike within each kind."""
    rng = np.random.default_rng(0)
    files = []
    for kind, color in KINDS.items():
        for number in range(each):
            photo = np.clip(np.array(color) + rng.normal(0, 12, (*size, 3)), 0, 255).astype(np.uint8)
            files.append(folder / f"{kind}{number}.png")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(files[-1])
    return files


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


def kinds_of(paths):
    return sorted(path.stem[:-1] for path in paths)


class Counting(ColorDescriber):
    """Counts what it describes."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return super().__call__(image)


def test_of_three_kinds_of_places_one_each_is_chosen_and_again_the_same(photos, tmp_path):
    found = unimatch.select(photos, 3, features=tmp_path / "features", progress=False)
    assert kinds_of(found.chosen) == sorted(KINDS)
    assert found.by == "colour and texture"
    again = select(photos[::-1], 3, features=tmp_path / "others", progress=False)
    assert kinds_of(again.chosen) == sorted(KINDS)
    assert select(photos, 3, features=tmp_path / "features", progress=False) == found


def test_what_is_labelled_counts_as_chosen(photos, tmp_path):
    labelled = [path for path in photos if path.stem[:-1] != "brick"][:5]
    found = select(photos, 1, given=labelled, features=tmp_path, progress=False)
    assert kinds_of(found.chosen) == ["brick"]
    assert found.given == labelled


def test_unsure_photos_count_more(photos, tmp_path):
    unsure = dict.fromkeys(photos, 0.001) | {photos[6]: 0.9}
    assert select(photos, 1, unsure=unsure, features=tmp_path, progress=False).chosen == [photos[6]]
    assert weights_of(photos[:3], {photos[0]: 0.2, photos[2]: 0.4}).tolist() == pytest.approx([0.2, 0.3, 0.4])


def test_photos_are_described_once_wherever_they_lie(photos, tmp_path):
    describer = Counting()
    select(photos, 2, describer=describer, features=tmp_path / "features", progress=False)
    assert describer.calls == 12
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    names = [path.rename(moved / f"x{path.name}") for path in photos[:6]]
    select([*names, *photos[6:]], 2, describer=describer, features=tmp_path / "features", progress=False)
    assert describer.calls == 12
    other = Counting()
    other.name = "another way"
    select(names, 2, describer=other, features=tmp_path / "features", progress=False)
    assert other.calls == 6


def test_what_cannot_be_read_is_left_out_and_said(photos, tmp_path):
    photos[0].write_bytes(photos[0].read_bytes()[:80])
    photos[1].unlink()
    found = select(photos, 2, features=tmp_path / "features", progress=False)
    assert set(found.left_out) == set(photos[:2])
    assert all(str(path) in reason for path, reason in found.left_out.items())
    with pytest.raises(DataError, match="none of 2 photos can be read"):
        select(photos[:2], 1, features=tmp_path / "features", progress=False)


def test_patches_are_sorted_several_times_and_each_sorting_counts_alike(photos, tmp_path):
    select(photos, 1, features=tmp_path, progress=False)
    with open_store(tmp_path) as store:
        keys = [key_of(path, ColorDescriber().identity) for path in photos]
        coverage = coverage_of(keys, store, likeness=0.5, kinds=3)
        patches = [store[key].patches.astype(np.float32) for key in keys]
    assert coverage.histogram.shape == (12, 3 * PARTITIONS)
    np.testing.assert_allclose(coverage.histogram.sum(axis=1), 1, rtol=1e-5)
    for seed in range(PARTITIONS):
        centres = find_kinds(np.concatenate(patches), 3, seed)
        for image, mine in enumerate(patches):  # each patch by the centre it is nearest to, one by one
            nearest = [int(np.argmax([patch @ centre for centre in centres])) for patch in mine]
            expected = [nearest.count(kind) / len(mine) / PARTITIONS for kind in range(3)]
            np.testing.assert_allclose(coverage.histogram[image, 3 * seed : 3 * seed + 3], expected, atol=1e-6)


def test_a_damaged_store_is_said(photos, tmp_path):
    (tmp_path / "features.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(DataError, match=r"features\.sqlite.*remove it"):
        select(photos, 2, features=tmp_path, progress=False)


def test_the_store_is_in_the_users_cache_by_default(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    select(photos, 2, progress=False)
    assert (tmp_path / "cache" / "unimatch" / "features.sqlite").is_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    select(photos, 2, progress=False)
    assert (tmp_path / "home" / ".cache" / "unimatch" / "features.sqlite").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 13}, "n=13: must be 1 to 12"),
        ({"group": "(["}, "not a regular expression"),
        ({"group": "scanner"}, "not found in"),
        ({"likeness": -1.0}, "likeness=-1"),
        ({"kinds": 0}, "kinds=0"),
    ],
)
def test_what_cannot_be_is_refused_before_a_photo_is_described(photos, tmp_path, options, message):
    describer = Counting()
    with pytest.raises(ConfigError, match=message):
        select(photos, **{"n": 1, "describer": describer, "features": tmp_path, "progress": False, **options})
    assert describer.calls == 0


@pytest.mark.parametrize("command", ["select", "round"])
def test_commands_and_python_choose_by_the_same_numbers(command):
    config = OmegaConf.load(ROOT / "conf" / f"{command}.yaml")
    arguments = inspect.signature(select).parameters
    for name in ("likeness", "kinds"):
        assert config[name] == arguments[name].default


def test_of_many_photos_only_the_sampled_patches_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["unimatch.selection.select"], "PATCH_SAMPLE", 100)
    count, patches = 300, np.eye(48, 384, dtype=np.float16)  # of 37 kB each, 11 MB together
    keys = [bytes([number // 256, number % 256]) for number in range(count)]
    with open_store(tmp_path) as store:
        for key in keys:
            store.add(key, Description(np.ones(8, np.float16), patches))
        tracemalloc.start()
        coverage_of(keys, store, likeness=1, kinds=4)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < count * patches.nbytes / 4
