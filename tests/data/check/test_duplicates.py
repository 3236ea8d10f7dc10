import numpy as np
from PIL import Image

from unimatch.data.catalog import DIGITS
from unimatch.data.check.duplicates import by_fingerprint, copies, fingerprint, repeated, shared
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair


def test_fingerprints_depend_on_shape_and_pixels():
    flat = np.zeros((32, 8, 3), np.uint8)
    assert fingerprint(flat) == fingerprint(flat.copy())
    assert fingerprint(flat) != fingerprint(flat.reshape(8, 32, 3))
    other = flat.copy()
    other[16, 3, 1] = 1
    assert fingerprint(flat) != fingerprint(other)


def images_in(folder, name, values):
    """Flat images of these values."""
    folder.mkdir(exist_ok=True)
    paths = []
    for i, value in enumerate(values):
        paths.append(folder / f"{name}{i}.png")
        Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(paths[-1])
    return FileSource([FilePair(path) for path in paths], DIGITS)


def prints(source):
    return [fingerprint(source.image(i)) for i in range(len(source))]


def test_images_of_one_fingerprint_are_collected():
    assert by_fingerprint([b"a", None, b"b", b"a"]) == {b"a": [0, 3], b"b": [2]}


def test_what_is_listed_twice_is_named(tmp_path):
    source = images_in(tmp_path, "a", [1, 2])
    pairs = [source.pairs[0], source.pairs[1], source.pairs[0]]
    assert list(repeated(FileSource(pairs, DIGITS))) == [("listed twice", f"{source.name(0)}: 2 times")]
    assert list(repeated(source)) == []


def test_held_out_images_are_found_by_file_and_by_pixels(tmp_path):
    train, held = images_in(tmp_path, "a", [1, 2, 3]), images_in(tmp_path, "v", [9, 2])
    held = FileSource([*held.pairs, train.pairs[2]], DIGITS)
    found = list(shared(train, held, prints(train), prints(held), "validation"))
    assert found == [
        ("same content", f"{train.name(1)}: the pixels of the validation image {held.name(1)}"),
        ("in two parts", f"{train.name(2)}: also a validation image"),
    ]
    # Equal fingerprints alone are no proof.
    assert not list(shared(train, images_in(tmp_path, "w", [8]), prints(train), prints(train)[:1], "test"))


def test_copies_have_another_name(tmp_path):
    labeled, pool = images_in(tmp_path, "a", [1, 2]), images_in(tmp_path, "u", [5, 1])
    pool = FileSource([*pool.pairs, labeled.pairs[1]], DIGITS)
    found = list(copies(labeled, pool, prints(labeled), prints(pool)))
    assert found == [("labelled copy", f"{pool.name(1)}: the pixels of {labeled.name(0)}")]
