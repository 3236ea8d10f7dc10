"""Checkpoints reach the disk whole or not at all, whatever the disk does."""

import builtins
import errno
import io
import os
import sys
import zipfile

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unimatch
from helpers.support import at_night
from unimatch import disk
from unimatch.callbacks import CheckpointFiles, Checkpoints
from unimatch.checkpoints.files import damage_of, newest_checkpoint, read_checkpoint
from unimatch.errors import ConfigError, WeightsError


def content(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    weights = {f"layer{i}": torch.randn(60, 50, generator=generator) for i in range(4)}
    return {"unimatch_model": {"encoder": "tiny"}, "global_step": step, "state_dict": weights}


class FaultyDisk:
    """Numbers every operation on files that are written, and has one of them fail, or all writes be short."""

    def __init__(self, monkeypatch, *, fails_at=None, error=errno.ENOSPC, chunk=4096, for_good=False):
        self.count, self.fails_at, self.error, self.chunk, self.for_good = 0, fails_at, error, chunk, for_good
        self.log = []
        faulty = self

        class Raw(io.FileIO):
            def write(self, data):
                view = memoryview(data).cast("B")
                faulty.operation("write")
                return super().write(view[: faulty.chunk])  # short: fewer bytes than asked for

        def opened(path, mode="r", buffering=-1, **options):
            if "x" not in mode:
                return builtins.open(path, mode, buffering, **options)  # noqa: PTH123
            faulty.operation("open")
            return io.BufferedWriter(Raw(path, mode.replace("b", ""), **options), buffer_size=max(buffering, 1))

        def wrapped(name):
            original = getattr(os, name)

            def call(*arguments):
                faulty.operation(name)
                return original(*arguments)

            return call

        monkeypatch.setattr(disk, "open", opened, raising=False)
        for name in ("fsync", "replace"):
            monkeypatch.setattr(disk.os, name, wrapped(name))

    def operation(self, name):
        self.log.append(name)
        self.count += 1
        if self.fails_at is not None and (
            self.count > self.fails_at if self.for_good else self.count == self.fails_at + 1
        ):
            raise OSError(self.error, os.strerror(self.error))


def count_operations(folder):
    """The operations of writing one checkpoint beside an older one."""
    with pytest.MonkeyPatch.context() as patch:
        faulty = FaultyDisk(patch)
        CheckpointFiles().save_checkpoint(content(2), folder / "last.ckpt")
    return faulty.log


def test_short_writes_lose_nothing(tmp_path, monkeypatch):
    faulty = FaultyDisk(monkeypatch, chunk=100)
    CheckpointFiles().save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert faulty.log.count("write") > 400
    loaded = CheckpointFiles().load_checkpoint(tmp_path / "last.ckpt")
    assert all(torch.equal(loaded["state_dict"][key], value) for key, value in content(1)["state_dict"].items())


def test_a_worker_that_dies_while_a_checkpoint_is_written_is_no_fault_of_the_disk(tmp_path, monkeypatch):
    files, path = CheckpointFiles(), tmp_path / "last.ckpt"
    files.save_checkpoint(content(1), path)

    def interrupted(*arguments, **options):  # as PyTorch's handler of SIGCHLD does, wherever the program is
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        files.save_checkpoint(content(2), path)
    assert read_checkpoint(path)["global_step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), KeyboardInterrupt()]
)
def test_a_worker_that_dies_and_ctrl_c_end_the_run_in_the_midst_of_an_archive(error, after, tmp_path, monkeypatch):
    """torch's writer then fails to close what it has begun, with another message: "unexpected pos"."""
    files, path, save = CheckpointFiles(), tmp_path / "last.ckpt", torch.save
    files.save_checkpoint(content(1), path)

    class Interrupted:
        def __init__(self, file):
            self.file, self.writes, self.flush = file, 0, file.flush

        def write(self, data):
            self.writes += 1
            if self.writes == 1 + after:
                raise error
            return self.file.write(data)

    monkeypatch.setattr(torch, "save", lambda value, file: save(value, Interrupted(file)))
    with pytest.raises(type(error)) as raised:
        files.save_checkpoint(content(2), path)
    assert raised.value is error
    assert read_checkpoint(path)["global_step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_after_a_worker_has_died_is_a_warning_still(tmp_path, caplog):
    path = tmp_path / "last.ckpt"
    try:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    except RuntimeError:
        with disk.training_goes_on(path):
            raise OSError(errno.ENOSPC, "No space left on device")  # noqa: B904 - the context is what is tested
    assert f"{path} was not written: No space left on device" in caplog.text
    disk.unwritten.clear()


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, *map(at_night, (errno.EIO, errno.EDQUOT, errno.EROFS))])
def test_whichever_operation_fails_a_whole_checkpoint_is_there(error, for_good, tmp_path, caplog):
    files = CheckpointFiles()
    operations = count_operations(tmp_path / "count")
    assert {"open", "write", "fsync", "replace"} <= set(operations)
    for number in range(len(operations) + 2):
        folder = tmp_path / str(number)
        for step in (1, 2):
            files.save_checkpoint(content(step), folder / "last.ckpt")
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyDisk(patch, fails_at=number, error=error, for_good=for_good)
            files.save_checkpoint(content(3), folder / "last.ckpt")
        found = newest_checkpoint(folder)
        step = read_checkpoint(found)["global_step"]
        assert step in (2, 3)
        assert step == 3 or faulty.log[number] in ("open", "write", "fsync", "replace")
        if faulty.count > number:  # something failed
            assert "step 3 was not written" in caplog.text or step == 3
        assert not any(path.name.endswith(".tmp") for path in folder.iterdir())
        files.save_checkpoint(content(4), folder / "last.ckpt")  # when there is room again
        assert read_checkpoint(newest_checkpoint(folder))["global_step"] == 4
        caplog.clear()


@pytest.mark.parametrize("kept", [0, 1, 10, 1000, -1000, -1])
def test_a_cut_file_is_recognised_and_the_one_before_is_used(kept, tmp_path, caplog):
    files = CheckpointFiles()
    for step in (1, 2):
        files.save_checkpoint(content(step), tmp_path / "last.ckpt")
    whole = (tmp_path / "last.ckpt").read_bytes()
    (tmp_path / "last.ckpt").write_bytes(whole[:kept])
    assert newest_checkpoint(tmp_path) == tmp_path / "previous.ckpt"
    assert read_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1
    assert "last.ckpt: is damaged" in caplog.text
    assert "continuing from previous.ckpt" in caplog.text
    with pytest.raises(WeightsError, match="cut short or altered"):
        files.load_checkpoint(tmp_path / "last.ckpt")
    (tmp_path / "previous.ckpt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"no checkpoint in .* can be continued from"):
        newest_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "last.ckpt"
    CheckpointFiles().save_checkpoint(content(1), path)
    return path.read_bytes()


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_an_altered_byte_is_recognised_or_changes_nothing(data, whole, tmp_path_factory):
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = data.draw(st.integers(1, 255))
    altered = bytearray(whole)
    altered[position] ^= flipped
    path = tmp_path_factory.getbasetemp() / "altered.ckpt"
    path.write_bytes(altered)
    try:
        loaded = read_checkpoint(path)
    except WeightsError:
        return
    expected = content(1)
    assert loaded["global_step"] == expected["global_step"]
    assert loaded["unimatch_model"] == expected["unimatch_model"]
    assert all(torch.equal(loaded["state_dict"][key], value) for key, value in expected["state_dict"].items())


def test_a_compressed_archive_is_refused_unread(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    assert "compressed" in damage_of(tmp_path / "bomb.ckpt")


def test_no_checkpoint_at_all_means_to_begin(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("option", [{"every_n_steps": 0}, {"every_minutes": -1.0}])
def test_intervals_that_cannot_be_are_refused(option, tmp_path):
    with pytest.raises(ConfigError, match=rf"^{next(iter(option))}=.*: must be above 0"):
        Checkpoints(tmp_path, **option)


def fit(folder, *callbacks, plugins=(), data=None, max_steps=6, interval=4, **options):
    torch.manual_seed(0)
    model = unimatch.SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = unimatch.UniMatchV2(model, tau=0.1, learning_rate=1e-3, decoder_multiplier=1, ema_decay=0.5)
    data = data or unimatch.data.digits(labeled=4, train=12, val=2, size=32)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        val_check_interval=interval,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, Checkpoints(folder, **options)],
        plugins=[CheckpointFiles(), *plugins],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=0))
    return method


class Written(CheckpointFiles):
    """Notes which checkpoint is written at which step."""

    def __init__(self):
        self.log = []

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.log.append((path.name, checkpoint["global_step"]))
        super().save_checkpoint(checkpoint, path, storage_options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [4, 6]),
        at_night({"every_n_steps": 2}, [2, 4, 4, 6]),  # before an evaluation and after it
        ({"every_minutes": 1e-9}, [1, 2, 3, 4, 4, 5, 6]),
        at_night({"every_minutes": 1e9}, [4, 6]),
    ],
)
def test_checkpoints_are_written_when_they_should_be(options, expected, tmp_path, monkeypatch):
    files = Written()
    monkeypatch.setattr(sys.modules[__name__], "CheckpointFiles", lambda: files)
    method = fit(tmp_path, **options)
    assert [step for name, step in files.log if name == "last.ckpt"] == expected
    miou = [evaluation.teacher.miou for evaluation in method.evaluations]
    bests = [
        step for step, now, before in zip((4, 6), miou, ([], miou[:1]), strict=True) if all(now > b for b in before)
    ]
    assert [step for name, step in files.log if name == "best.ckpt"] == bests


class Broken:
    """A source whose images fail after a while."""

    def __init__(self, source, good):
        self.source, self.good = source, good

    def __len__(self):
        return len(self.source)

    def name(self, index):
        return f"broken/{index}"

    def image(self, index):
        self.good -= 1
        if self.good < 0:
            raise unimatch.DataError("broken/3: cannot be read as an image (gone); repair or remove it")
        return self.source.image(index)

    def mask(self, index):
        return self.source.mask(index)


def test_an_image_that_goes_bad_ends_training_with_a_checkpoint_of_the_last_step(tmp_path):
    scenes = unimatch.data.digits(labeled=4, train=12, val=2, size=32)
    data = unimatch.SegmentationData(
        scenes.info, scenes.labeled, Broken(scenes.unlabeled, 8 + 7), scenes.val
    )  # 8 are looked at before
    with pytest.raises(unimatch.DataError, match="broken/3"):
        fit(tmp_path, data=data)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_an_error_inside_a_step_leaves_no_checkpoint_of_it(tmp_path):
    class Fails(lightning.Callback):
        def on_after_backward(self, trainer, pl_module):
            if trainer.global_step == 5:
                raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fit(tmp_path, Fails())
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_training_goes_on_when_a_checkpoint_cannot_be_written(tmp_path, monkeypatch, caplog):
    class Full(lightning.Callback):
        def on_train_batch_end(self, trainer, *arguments):
            if trainer.global_step == 3:
                FaultyDisk(monkeypatch, fails_at=0, for_good=True)

    method = fit(tmp_path, Full(), every_n_steps=1)
    assert [evaluation.step for evaluation in method.evaluations] == [4, 6]
    assert "last.ckpt of step 6 was not written" in caplog.text
    assert read_checkpoint(newest_checkpoint(tmp_path / "checkpoints"))["global_step"] == 2
