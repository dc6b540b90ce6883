"""`cloudphone check-consistency` says what is wrong with what it was asked, and ends with 2 when it can say nothing."""

import pytest

from cloudphone_deploy.cli import main
from tests.servers import free_port


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["check-consistency", *words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_an_unknown_fault_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--faults", "kill-bff,meteor")
    assert "There is no fault 'meteor'" in said
    assert "kill-bff" in said and "FLUSHALL" in said


def test_no_fault_at_all_is_asked_for_by_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Say which faults" in refused(capsys, "--faults", ",")


@pytest.mark.parametrize("words", [["--seconds", "1"], ["--bffs", "1"], ["--rate", "0"], ["--readers", "2"]])
def test_too_little_to_see_anything_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "It takes at least" in refused(capsys, *words)


def test_metrics_are_a_monitors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--target" in refused(capsys, "--metrics-port", "9200")


def test_a_monitor_makes_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a monitor makes none" in refused(capsys, "--target", "http://127.0.0.1:1", "--faults", "all")


def test_a_target_is_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert "admin.example.com is no URL" in refused(capsys, "--target", "admin.example.com")


def test_a_deployment_that_gives_no_answer_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("CLOUDPHONE_SERVICE_CLIENTS", '{"operations": "secret"}')
    monkeypatch.setenv("CLOUDPHONE_PORT_BASE", str(free_port()))
    said = refused(capsys, "--target", f"http://127.0.0.1:{free_port()}", "--data", str(tmp_path))
    assert "gives no answer" in said


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-consistency", "--help"])
        raise SystemExit
    said = capsys.readouterr().out
    for word in ("Exit code", "--faults", "--target", "nines"):
        assert word in said
