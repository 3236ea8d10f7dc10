import sys

import numpy as np
import pytest
from PIL import Image

from helpers import exports
from unimatch.labels import main


def run_labels(monkeypatch, *overrides):
    monkeypatch.setattr(sys, "argv", ["unimatch.labels", *overrides])
    main()


def test_an_export_becomes_a_folder_to_train_on(tmp_path, monkeypatch, capsys):
    exports.coco(tmp_path / "export")
    run_labels(monkeypatch, f"from={tmp_path}/export", f"to={tmp_path}/photos", "workers=0")
    shown = capsys.readouterr().out
    assert "2 train, 1 unlabelled photos; 3 classes: background, stone, leaf; the rest: background" in shown
    assert f"next: python -m unimatch.check dataset=folder dataset.root={tmp_path}/photos" in shown
    assert (tmp_path / "photos" / "classes.txt").read_text() == "background\nstone\nleaf\n"
    assert np.unique(np.asarray(Image.open(tmp_path / "photos/masks/a.png"))).tolist() == [0, 1, 2]
    assert not (tmp_path / "outputs").exists()


def test_masks_go_to_a_tool_and_corrections_come_back_with_the_same_ids(tmp_path, monkeypatch, capsys):
    exports.supervisely(tmp_path / "export")
    run_labels(monkeypatch, f"from={tmp_path}/export", f"to={tmp_path}/photos", "workers=0")
    before = (tmp_path / "photos/masks/a.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    run_labels(monkeypatch, "from=photos", "to=labelme", "workers=0")
    assert sorted(path.name for path in (tmp_path / "labelme").iterdir()) == ["labels.txt", "train"]
    (tmp_path / "labelme" / "labels.txt").unlink()  # without it names are sorted, but for classes.txt
    assert "0 255 16 leaf" in (tmp_path / "photos/classes.txt").read_text()
    run_labels(monkeypatch, "from=labelme", "to=photos", "overwrite=true", "workers=0")
    assert (tmp_path / "photos/masks/a.png").read_bytes() == before
    assert "unlabelled" not in capsys.readouterr().out.splitlines()[-2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["to=x"], "from=FILE_OR_FOLDER is needed"),
        (["from=x"], "to=FOLDER is needed"),
        (["from={root}", "to={root}/photos", "out={root}/x"], "out={root}/x: goes with to=TOOL alone"),
        (["from={root}/nowhere", "to={root}/x"], "nowhere: no such file or folder"),
        (["from={root}", "to={root}/x", "format=boxes"], "format=boxes: must be auto or one of"),
        (["from={root}", "to=coco", "out={root}/x", "tolerance=-1"], "tolerance=-1"),
        (["from={root}", "to={root}", "workers=0"], "is there already"),
        (["from={root}", "to={root}/x", "shape=masks"], "did you mean shapes?"),
    ],
)
def test_bad_input_is_one_message_and_status_2(tmp_path, monkeypatch, capsys, overrides, message):
    exports.coco(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_labels(monkeypatch, *(override.format(root=tmp_path) for override in overrides))
    assert stopped.value.code == 2
    assert message.format(root=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
