"""``python -m unimatch.predict``, over a model with random weights."""

import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.support import make_camvid, save_run
from unimatch import Predictor
from unimatch.data import camvid
from unimatch.images.arrays import read_mask
from unimatch.tasks.scores import confusion_metric
from unimatch.tasks.segmentation import scores
from unimatch.terminal import progress_bar


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint and the folder of its data: 5 validation and 5 test images."""
    directory = tmp_path_factory.mktemp("run")
    root = make_camvid(directory / "camvid", val=5, height=48, width=60)
    return save_run(directory / "checkpoints" / "best.ckpt", root), root


@pytest.fixture
def predict(run, monkeypatch, tmp_path):
    """``predict("threshold=0.5", ...)``: the command in this process; the output folder and the exit status."""
    from unimatch.predict import main

    def call(*overrides: str, source: Path | None = None, name: str = "out") -> tuple[Path, int]:
        output = tmp_path / name
        arguments = [f"checkpoint={run[0]}", f'input="{source or run[1] / "test"}"', f'output="{output}"', "device=cpu"]
        monkeypatch.setattr(sys, "argv", ["unimatch.predict", *arguments, *overrides])
        try:
            main()
        except SystemExit as stopped:
            return output, int(stopped.code)
        return output, 0

    return call


@pytest.mark.parametrize("rule", [[], ["inference.mode=sliding", "inference.window=32", "inference.flip=true"]])
def test_masks_on_disk_have_the_score_that_evaluate_gives(run, predict, monkeypatch, tmp_path, rule):
    from unimatch.evaluate import main

    output, status = predict("save=[]", *rule)
    assert status == 0
    arguments = [f"checkpoint={run[0]}", "split=test", "models=[teacher]", "workers=0", "trainer.accelerator=cpu"]
    monkeypatch.setattr(sys, "argv", ["unimatch.evaluate", *arguments, *rule, f"output={tmp_path / 'result.json'}"])
    main()
    evaluated = json.loads((tmp_path / "result.json").read_text())["teacher"]
    metric, data = confusion_metric(11), camvid(run[1])
    for i in range(5):
        mask = read_mask(output / "masks" / f"{Path(data.test.name(i)).stem}.png")
        metric.update(torch.from_numpy(mask).long(), torch.from_numpy(data.test.mask(i)).long())
    assert metric.compute().tolist() == evaluated["confusion"]
    assert scores(metric.compute()).miou == evaluated["miou"]


def test_the_checkpoint_is_read_once(run, predict, monkeypatch):
    import unimatch.inference.load as module

    reads, read = [], module.read_checkpoint
    monkeypatch.setattr(module, "read_checkpoint", lambda path: reads.append(path) or read(path))
    assert predict("save=[]")[1] == 0
    assert reads == [run[0]]


def test_files_equal_what_the_predictor_gives(run, predict):
    output, _ = predict("save=[overlay,confidence,scores,rle]", "batch_size=2")
    predictor = Predictor(run[0], device="cpu")
    for i in range(5):
        prediction = predictor(run[1] / "test" / f"{i:03d}.jpg")
        assert (read_mask(output / "masks" / f"{i:03d}.png") == prediction.mask).mean() > 0.999
        for kind, suffix in (("overlays", "jpg"), ("confidence", "png"), ("scores", "npz"), ("rle", "json")):
            assert (output / kind / f"{i:03d}.{suffix}").stat().st_size > 0
    assert len((output / "areas.csv").read_text().splitlines()) == 6
    assert not list(output.rglob("*.tmp"))


def test_a_bad_file_is_reported_and_the_others_are_predicted(predict, run, tmp_path, capsys):
    source = tmp_path / "photos"
    source.mkdir()
    for i, name in enumerate(("good.jpg", "z good.jpg")):
        (source / name).write_bytes((run[1] / "test" / f"{i:03d}.jpg").read_bytes())
    (source / "cut.jpg").write_bytes((run[1] / "test" / "002.jpg").read_bytes()[:300])
    (source / "text.png").write_text("no image")
    output, status = predict(source=source)
    assert status == 1
    assert sorted(path.stem for path in (output / "masks").iterdir()) == ["good", "z good"]
    printed = capsys.readouterr()
    assert "2 of 4 images predicted (0 of them earlier), 2 failed" in printed.out
    assert "cut.jpg: cannot be read as an image" in printed.err
    assert "text.png: cannot be read as an image" in printed.err


def test_a_second_call_goes_on_where_the_first_one_stopped(predict, capsys):
    output, _ = predict("save=[]")
    (output / "masks" / "003.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in (output / "masks").iterdir()}
    predict("save=[]")
    assert "5 of 5 images predicted (4 of them earlier), 0 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (output / "masks" / "003.png").is_file()
    predict("save=[]", "overwrite=true")
    assert "(0 of them earlier)" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns > time for path, time in before.items())


def test_a_photo_that_was_replaced_is_predicted_again(predict, run, tmp_path, capsys):
    source = tmp_path / "photos"
    shutil.copytree(run[1] / "test", source)
    output, _ = predict("save=[]", source=source)
    masks = {path.stem: path.read_bytes() for path in (output / "masks").iterdir()}
    (source / "002.jpg").write_bytes((source / "003.jpg").read_bytes())
    predict("save=[]", source=source)
    assert "5 of 5 images predicted (4 of them earlier), 0 failed" in capsys.readouterr().out
    now = {path.stem: path.read_bytes() for path in (output / "masks").iterdir()}
    assert now == {**masks, "002": masks["003"]}
    assert masks["002"] != masks["003"]
    assert len((output / "areas.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize(("seconds", "said"), [(0.0, True), (60.0, False)])
def test_a_long_prediction_says_in_a_file_how_far_it_is(predict, monkeypatch, capsys, seconds, said):
    monkeypatch.setattr("unimatch.predict.progress_bar", functools.partial(progress_bar, seconds=seconds))
    predict("save=[]")
    assert ("4/5" in capsys.readouterr().err) == said


def test_other_settings_are_not_mixed_into_one_folder(predict, capsys):
    predict("save=[]")
    _, status = predict("save=[]", "threshold=0.5")
    assert status == 2
    assert "holds results of other settings (threshold, see predict.json)" in capsys.readouterr().err
    assert predict("save=[]", "threshold=0.5", "overwrite=true")[1] == 0


def test_overwritten_results_leave_no_line(predict):
    """Else ``areas.csv`` would count images twice, with the numbers of other settings."""
    predict("save=[]")
    output, _ = predict("save=[]", "threshold=0.999", "overwrite=true")
    assert len((output / "areas.csv").read_text().splitlines()) == 6


def test_an_overwrite_that_is_interrupted_leaves_no_result_of_before(predict, monkeypatch, capsys):
    from unimatch.inference.pipeline import Pipeline

    output, _ = predict("save=[]")
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "run", lambda self, photos: (_ for _ in ()).throw(KeyboardInterrupt))
        assert predict("save=[]", "threshold=1", "overwrite=true")[1] == 130
    predict("save=[]", "threshold=1")
    assert "5 of 5 images predicted (0 of them earlier)" in capsys.readouterr().out
    assert all((read_mask(path) == 255).all() for path in (output / "masks").iterdir())


def test_a_checkpoint_that_was_trained_further_is_another(run, predict, tmp_path, capsys):
    copied = tmp_path / "copied.ckpt"
    copied.write_bytes(run[0].read_bytes())
    given = f"checkpoint={copied}"
    output, _ = predict("save=[]", given)
    other = torch.load(copied, weights_only=True)
    next(weight for weight in other["state_dict"].values() if weight.is_floating_point()).add_(1)
    torch.save(other, copied)
    assert predict("save=[]", given)[1] == 2
    assert f"holds results of {copied} as it was before" in capsys.readouterr().err
    assert predict("save=[]", given, "overwrite=true")[1] == 0
    settings = json.loads((output / "predict.json").read_text())
    del settings["contents"]  # as earlier versions wrote it
    (output / "predict.json").write_text(json.dumps(settings))
    assert predict("save=[]", given)[1] == 0
    assert "(5 of them earlier)" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which nobody can make one")
def test_a_folder_that_cannot_be_made_is_one_message(predict, capsys):
    assert predict("save=[]", "output=/proc/unimatch/out")[1] == 2
    assert "/proc/unimatch/out/predict.json: cannot be written (" in capsys.readouterr().err


def test_another_folder_with_the_same_names_is_not_predicted_earlier(predict, run, tmp_path, capsys):
    """Else pseudo_labels.txt would pair one folder's photos with another's masks."""
    photos = {folder: tmp_path / folder / "000.jpg" for folder in ("here", "there")}
    for i, path in enumerate(photos.values()):
        path.parent.mkdir()
        path.write_bytes((run[1] / "test" / f"{i:03d}.jpg").read_bytes())
    output, _ = predict("save=[]", "threshold=0", source=tmp_path / "here")
    before = (output / "masks" / "000.png").read_bytes()
    assert predict("save=[]", "threshold=0", source=tmp_path / "there")[1] == 2
    expected = f"holds the result of {photos['here']} under the name of {photos['there']}; name another folder"
    assert expected in capsys.readouterr().err
    assert (output / "masks" / "000.png").read_bytes() == before
    assert predict("save=[]", "threshold=0", "overwrite=true", source=tmp_path / "there")[1] == 0
    assert (output / "masks" / "000.png").read_bytes() != before
    assert (output / "pseudo_labels.txt").read_text().startswith(f"{photos['there']}\t")
    listed = tmp_path / "list.txt"
    listed.write_text("there/000.jpg\n")  # the same photo by another way
    assert predict("save=[]", "threshold=0", source=listed)[1] == 0
    assert "(1 of them earlier)" in capsys.readouterr().out


def test_a_name_that_no_list_can_hold_is_predicted_and_not_listed(predict, run, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a\tb.jpg", "c\nd.jpg", "e f.jpg"):
        (tmp_path / "photos" / name).write_bytes((run[1] / "test" / "000.jpg").read_bytes())
    output, status = predict("save=[]", "threshold=0", source=tmp_path / "photos")
    assert status == 0
    assert len(list((output / "masks").iterdir())) == 3
    assert (output / "pseudo_labels.txt").read_text() == f"{tmp_path}/photos/e f.jpg\t{output}/masks/e f.png\n"


def test_memory_for_images_under_way_is_bounded(predict, monkeypatch, run):
    """With room for one image and a half, each is read only after the one before has been written."""
    from unimatch.inference import pipeline

    under_way, read = [], pipeline.Pipeline.read

    def spy(self, readers, photos):
        for photo, image in read(self, readers, photos):
            under_way.append(len(self.pixels))
            yield photo, image

    monkeypatch.setattr(pipeline.Pipeline, "read", spy)
    monkeypatch.setattr(pipeline, "PIXELS", 48 * 60 * 3 // 2)
    output, status = predict("batch_size=4")
    assert status == 0
    assert under_way == [1] * 5
    assert len(list((output / "masks").iterdir())) == 5


@pytest.mark.nightly
def test_small_images_go_side_by_side_through_a_cpu_and_large_ones_alone(predict, monkeypatch, run, tmp_path):
    """As many at once as have no more pixels together than one that is seen whole; files are the same."""
    from unimatch.inference import pipeline

    engine, used, found = pipeline.Predictor(run[0], device="cpu").engine, [], pipeline.Pipeline.predict_images

    def spy(self, images):
        used.append((torch.get_num_threads(), self.parallel))
        return found(self, images)

    monkeypatch.setattr(pipeline.Pipeline, "predict_images", spy)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        expected = predict("save=[confidence]", "batch_size=2", name="batches")[0]
        assert {parallel for _, parallel in used} == {1}
        for limit, at_once in ((4, 4), (2, 2), (1, 1)):
            used.clear()
            monkeypatch.setattr(pipeline, "LARGE", limit * 48 * 60)
            output, status = predict("save=[confidence]", name=f"limit{limit}")
            assert status == 0
            assert used == [(4 // at_once, at_once)] * 5
            assert torch.get_num_threads() == 4
            for kind in ("masks", "confidence"):
                for path in (expected / kind).iterdir():
                    assert (read_mask(output / kind / path.name) == read_mask(path)).mean() > 0.999
            assert (output / "areas.csv").read_text().count("\n") == 6
    finally:
        engine.use_threads(threads)


@pytest.mark.slow
def test_pseudo_labels_are_a_second_rounds_labelled_images(predict, run, tmp_path, monkeypatch, capsys):
    from unimatch.run import main

    root = tmp_path / "photos"
    for part, source in (("images", "train"), ("val/images", "val")):
        (root / part).mkdir(parents=True)
        for path in (run[1] / source).iterdir():
            (root / part / path.name).write_bytes(path.read_bytes())
    for part, source in (("masks", "trainannot"), ("val/masks", "valannot")):
        (root / part).mkdir(parents=True)
        for path in (run[1] / source).iterdir():
            (root / part / path.name).write_bytes(path.read_bytes())
    output, status = predict("threshold=0.3", "save=[]", source=root / "images", name="pseudo")
    assert status == 0
    masks = [read_mask(path) for path in (output / "masks").iterdir()]
    assert any((mask == 255).any() for mask in masks)
    assert any((mask < 11).any() for mask in masks)
    (root / "classes.txt").write_text("\n".join(Predictor(run[0]).classes))
    lines = (output / "pseudo_labels.txt").read_text().splitlines()
    assert len(lines) == sum((mask < 11).any() for mask in masks)
    run_dir = tmp_path / "second"
    monkeypatch.setattr(sys, "argv", [
        "unimatch.run", "dataset=folder", f"dataset.root={root}",
        f"dataset.labeled_list={output / 'pseudo_labels.txt'}",
        "dataset.unlabeled=train", "dataset.allow_outside=true", "encoder=tiny", "datamodule.crop=32",
        "datamodule.workers=0", "datamodule.batch_size=2", "trainer.max_steps=2", "trainer.val_check_interval=2",
        "trainer.check_val_every_n_epoch=null", f"hydra.run.dir={run_dir}",
    ])  # fmt: skip
    main()
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["labeled"], summary["steps"]) == (len(lines), 2)


BAD = {
    "threshold": (["threshold=1.5"], ["threshold=1.5", "0 to 1"]),
    "kind": (["save=[overlays]"], ["overlays", "overlay, confidence, scores, rle"]),
    "batch": (["batch_size=0"], ["batch_size=0"]),
    "key": (["batch=2"], ["batch", "did you mean batch_size?"]),
    "rule": (["inference.mode=slide"], ["inference.mode=slide", "whole"]),
    "model": (["model=mentor"], ["model=mentor", "teacher"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case, predict, capsys):
    overrides, expected = BAD[case]
    output, status = predict(*overrides)
    assert status == 2
    message = capsys.readouterr().err
    assert all(part in message for part in expected)
    assert not (output / "masks").exists()


def test_overlays_and_palette_show_the_checkpoints_colours(predict, run):
    output, _ = predict()
    with Image.open(output / "masks" / "000.png") as mask:
        ids, colors = np.asarray(mask), np.asarray(mask.convert("RGB"))
    palette = np.array(camvid(run[1]).info.palette)
    assert np.array_equal(colors, palette[ids])


def test_several_checkpoints_vote(run, predict, tmp_path, capsys):
    other = tmp_path / "other, too.ckpt"
    content = torch.load(run[0], weights_only=True)
    content["state_dict"] = {
        key: value + 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(key)))
        if value.is_floating_point() and "running_var" not in key else value
        for key, value in content["state_dict"].items()
    }  # fmt: skip
    torch.save(content, other)
    several = f'checkpoint=[{run[0]},"{other}"]'
    output, status = predict(several, "votes=2", "threshold=0.2", "save=[disagreement]")
    assert status == 0
    predictor = Predictor([run[0], other], device="cpu")
    lines = (output / "areas.csv").read_text().splitlines()
    assert lines[0].split(",")[-3:] == ["unsure", "disagreement", "file"]
    for line in lines[1:]:
        name = line.split(",")[0]
        found = predictor(run[1] / "test" / f"{name}.jpg", votes=2, threshold=0.2, disagreement=True)
        assert np.array_equal(read_mask(output / "masks" / f"{name}.png"), found.mask)
        picture = np.asarray(Image.open(output / "disagreement" / f"{name}.png"))
        assert np.abs(picture / 255 - found.disagreement).max() < 1 / 255
        assert float(line.split(",")[-2]) == pytest.approx(found.disagreement.mean(), abs=0.003)
        assert 0 < found.disagreement.mean() < 1
    assert (output / "pseudo_labels.txt").is_file()
    capsys.readouterr()
    assert predict("votes=2", name="one")[1] == 2
    assert "votes=2: one model has none to agree with" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()
    content["unimatch_run"]["classes"][0] = "heaven"
    torch.save(content, other)
    capsys.readouterr()
    assert predict(several, name="others")[1] == 2
    assert "other, too.ckpt: has other classes than" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["[null]", "[a.ckpt,null]"])
def test_what_is_no_name_of_a_checkpoint_is_refused(given, predict, capsys):
    assert predict(f"checkpoint={given}")[1] == 2
    assert f"checkpoint={given}: must be the names of files" in capsys.readouterr().err
