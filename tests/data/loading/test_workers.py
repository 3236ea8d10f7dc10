from unimatch.data.loading.workers import report_unless_left


def test_a_worker_whose_main_process_has_gone_says_nothing(capsys):
    for error in (EOFError(), ConnectionResetError(104, "reset")):
        report_unless_left(type(error), error, None)
    assert capsys.readouterr().err == ""
    report_unless_left(ValueError, ValueError("a fault"), None)
    assert "ValueError: a fault" in capsys.readouterr().err
