import re

import torch

from helpers.support import SMALL
from unimatch.callbacks.plan import LiveBytes, part_of
from unimatch.run import main


def test_living_bytes_are_counted_and_freed():
    weight = torch.zeros(10)
    with LiveBytes([weight]) as live:
        weight.add_(1)
        assert live.now == 0
        a = torch.zeros(100) + weight.sum()  # 400 bytes, and once more 400, and 4
        assert live.now == 400
        b = a.view(10, 10).t()
        assert live.now == 400
        del a, b
        assert live.now == 0
    assert live.peak == 804


def test_a_batch_is_cut_or_repeated():
    batch = {"labeled": {"index": torch.arange(2)}, "unlabeled": {"index": torch.arange(6)}}
    assert part_of(batch, 1)["unlabeled"]["index"].tolist() == [0, 1, 2]
    assert part_of(batch, 3)["labeled"]["index"].tolist() == [0, 1, 0]
    assert part_of(batch, 3)["unlabeled"]["index"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_the_plan_is_printed_and_nothing_is_trained(tmp_path, monkeypatch, capsys):
    arguments = [*SMALL, "plan=true", "plan_memory=8", "trainer=cpu", f"hydra.run.dir={tmp_path}/run"]
    arguments.append("trainer.val_check_interval=4")
    monkeypatch.setattr("sys.argv", ["run", *arguments, "trainer.max_epochs=-1", "trainer.max_steps=123"])
    main()
    text = capsys.readouterr().out
    told = re.search(
        r"The training, 123 steps, takes about [\d.]+ (s|minutes) on 1 x cpu, [\d.]+ s of it for (\d+) evaluations\.",
        text,
    )
    assert told is not None
    assert int(told[2]) == 31  # the last one after three steps
    assert re.search(r"It needs 0\.\d\d GB of memory", text)
    fits = re.search(r"datamodule.batch_size=(\d+) fits into 95% of 8 GB", text)
    assert fits is not None
    assert 10 < int(fits[1]) < 10_000
    assert not (tmp_path / "run").exists()
