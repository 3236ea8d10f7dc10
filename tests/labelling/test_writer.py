"""What is written appears whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling.records import LabelledImage, Labels, Region, Regions
from unimatch.labelling.shapes import Polygon
from unimatch.labelling.writer import Job, Written, check_names, palette, write_all

LEFT_HALF = np.array([[1, 1, 255, 255]] * 3, np.uint8)


@pytest.fixture
def photos(tmp_path):
    return tmp_path / "photos"


def labelled(folder: Path, name: str, label: str | None = "car", part: str = "train") -> LabelledImage:
    """A grey photo of 4 x 3 pixels whose left half is labelled."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (90, 90, 90)).save(folder / name)
    half = Polygon((np.array([(0, 0), (2, 0), (2, 3), (0, 3)], float),))
    drawn = None if label is None else Regions((Region(label, (half,), "annotation 1"),))
    member = Member(folder, name, (folder / name).stat().st_size)
    return LabelledImage(name, member, drawn, part=part, where=f"{name}.json")


def write(job: Job, image: LabelledImage, written: Written) -> list[int]:
    written.save_photo(image.name)
    return written.save_mask(f"{Path(image.name).stem}.png").tolist()


def finish(job: Job, images, results) -> None:
    (job.folder / "all.txt").write_text(
        "\n".join(f"{image.name} {mask}" for image, mask in zip(images, results, strict=True))
    )


def write_to(target: Path, images, *, finish=finish, overwrite=False) -> None:
    write_all(Job(Labels((), ("road", "car")), target), images, write, finish, overwrite=overwrite, workers=0)


def test_photos_are_copied_and_masks_drawn_in_the_photos_order(tmp_path, photos):
    write_to(tmp_path / "out", [labelled(photos, "b.png"), labelled(photos, "a.png", "road")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "all.txt", "b.png"]
    first, second = (tmp_path / "out" / "all.txt").read_text().splitlines()
    assert first == f"b.png {LEFT_HALF.tolist()}"
    assert second == f"a.png {np.where(LEFT_HALF == 1, 0, 255).tolist()}"


@pytest.mark.parametrize("fails", ["a label of no class", "what is about all photos", "a photo that is gone"])
def test_nothing_is_left_where_a_photo_fails(tmp_path, photos, fails):
    images = [
        labelled(photos, "a.png"),
        labelled(photos, "b.png", "lorry" if fails == "a label of no class" else "car"),
    ]

    def full(*_):
        list(_[2])
        raise OSError("no space left")

    if fails == "a photo that is gone":
        (photos / "b.png").unlink()
    with pytest.raises(DataError) as error:
        write_to(tmp_path / "out", images, finish=full if fails == "what is about all photos" else finish)
    where = "out: cannot be written (no space left)" if fails == "what is about all photos" else "b.png"
    assert where in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_folder_with_something_in_it_is_kept(tmp_path, photos):
    target = tmp_path / "out"
    target.mkdir()
    write_to(target, [labelled(photos, "a.png")])  # an empty one may be there
    with pytest.raises(DataError, match="out: is there already; name another, or overwrite=true"):
        write_to(target, [labelled(photos, "b.png")])
    assert not (target / "b.png").exists()


def test_overwrite_replaces_files_of_the_same_names_alone(tmp_path, photos):
    target = tmp_path / "out"
    write_to(target, [labelled(photos, "a.png"), labelled(photos, "b.png")])
    (target / "notes.txt").write_text("mine")
    write_to(target, [labelled(photos, "a.png", "road")], overwrite=True)
    assert sorted(path.name for path in target.iterdir()) == ["a.png", "all.txt", "b.png", "notes.txt"]
    assert (target / "notes.txt").read_text() == "mine"
    assert "b.png" not in (target / "all.txt").read_text()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path, photos):
    victim, target = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    target.mkdir()
    (target / "all.txt").symlink_to(victim)
    write_to(target, [labelled(photos, "a.png")], overwrite=True)
    assert victim.read_text() == "precious"
    assert not (target / "all.txt").is_symlink()


def test_names_that_differ_by_ending_or_case_alone_are_refused(photos):
    for other in ("a.jpg", "A.png"):
        with pytest.raises(DataError, match=rf"{other}.json: {other} and a.png of a.png.json would have one name"):
            check_names([labelled(photos, "a.png"), labelled(photos, other)])
    check_names([labelled(photos, "a.png"), labelled(photos, "b/a.png"), labelled(photos, "a.jpg", part="val")])
    check_names(
        [labelled(photos, "a.png"), labelled(photos, "a.jpg", None)]
    )  # one of them is unlabelled: another folder


def test_a_palette_has_a_colour_for_every_id():
    colors = palette(Labels((), ("road", "car"), colors=((1, 2, 3), (4, 5, 6))))
    assert colors[:3] == [(1, 2, 3), (4, 5, 6), (224, 224, 192)]
    assert len(colors) == 256
