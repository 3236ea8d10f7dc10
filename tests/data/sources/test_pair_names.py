import pytest

from unimatch.data.sources.files import Tree
from unimatch.errors import DataError
from unimatch.images.folders import notes_taken


@pytest.mark.parametrize("names", [("road/{}", "car/{}"), ("{}_road", "{}_car"), ("{}/0", "{}/1"), ("{}-0", "{}.1")])
def test_several_masks_of_an_image_are_told_apart_from_a_suffix(tmp_path, write_pair, names):
    for i in range(2):
        write_pair(tmp_path / "i" / f"{i}.png", tmp_path / "m" / f"{names[0].format(i)}.png")
        write_pair(tmp_path / "i" / f"{i}.png", tmp_path / "m" / f"{names[1].format(i)}.png")
    first, second = sorted(name.format(0) for name in names)
    hint = rf"; {first}\.png and {second}\.png seem to be masks of one image: join them \(python -m"
    with notes_taken() as notes, pytest.raises(DataError, match=hint):
        Tree("i", "m").pairs(tmp_path)
    assert [kind for kind, _ in notes] == ["masks without image"]
    assert "seem to be masks of one image" in notes[0][1]
    assert "if a suffix is why" not in notes[0][1]


def test_masks_of_the_images_names_in_other_folders_are_said(tmp_path):
    for folder, photo, mask in (("a", "a.jpg", "trimaps/a.png"), ("b", "site0/p0.jpg", "p0.png")):
        for file in (tmp_path / folder / "images" / photo, tmp_path / folder / "masks" / mask):
            file.parent.mkdir(parents=True)
            file.touch()
        with pytest.raises(DataError, match=rf"{mask} has its name, but not its folder: arrange masks"):
            Tree("images", "masks").pairs(tmp_path / folder)
