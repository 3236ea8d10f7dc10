from helpers.runs import make_run
from unimatch.report.__main__ import main


def test_the_command_names_what_is_no_run(tmp_path, capsys):
    run = make_run(tmp_path / "run", examples=False)
    assert main([str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert "not been evaluated yet" in capsys.readouterr().err
    (run / "summary.json").write_text("[1]")
    assert main([str(run)]) == 2
    assert str(run) in capsys.readouterr().err
