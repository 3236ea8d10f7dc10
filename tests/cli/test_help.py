import re
import sys

import pytest

from unimatch.cli.overrides import config_groups


def test_bases_are_no_options_in_help_or_completion(monkeypatch, capsys):
    assert not [name for names in config_groups().values() for name in names if name.startswith("_")]
    from unimatch.run import main

    monkeypatch.setattr(sys, "argv", ["unimatch.run", "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    for word in ("dataset:", "encoder:", "dataset.labeled", "trainer.max_steps", "unimatch.compare"):
        assert word in shown
    groups = re.findall(r"^dataset: (.*)$", shown, re.MULTILINE)
    assert groups == [", ".join(config_groups()["dataset"])]
