import pytest

from unimatch.images.pairs import date_folders, other_spelling, second_date, second_folder


@pytest.mark.parametrize(
    ("first", "second"), [("A", "B"), ("a", "b"), ("before", "after"), ("T1", "T2"), ("Img1", "Img2"), ("B", None)]
)
def test_the_second_folder_is_named_as_the_first_one(first, second):
    assert second_folder(first) == second


def test_of_several_folders_of_first_dates_the_one_that_leads_to_a_file_counts(tmp_path):
    (tmp_path / "A" / "t2").mkdir(parents=True)
    (tmp_path / "A" / "t2" / "1.png").touch()
    assert second_date(str(tmp_path / "A" / "t1" / "1.png"), [tmp_path]) == str(tmp_path / "A" / "t2" / "1.png")
    assert second_date(str(tmp_path / "A" / "t1" / "2.png"), [tmp_path]) == str(tmp_path / "B" / "t1" / "2.png")
    assert second_date(str(tmp_path / "photos" / "2.png"), [tmp_path]) == str(tmp_path / "photos" / "2.png")


def test_folders_of_two_dates_are_found(tmp_path):
    assert date_folders(tmp_path) is None
    for name in ("A", "t1", "t2"):
        (tmp_path / name).mkdir()
    assert date_folders(tmp_path) == ("t1", "t2")


def test_a_second_date_of_another_spelling_is_named(tmp_path):
    (tmp_path / "Tile.JPG").touch()
    assert other_spelling(tmp_path / "tile.png") == " (but 'Tile.JPG' is there; both dates need one name)"
    assert other_spelling(tmp_path / "other.png") == ""
