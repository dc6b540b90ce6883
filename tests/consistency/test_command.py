"""`cloudphone check-consistency` says what is wrong with what it was asked, and ends with 2 when it can say nothing."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloudphone_deploy.cli import main
from cloudphone_deploy.commands.check_consistency import exit_code, until_told
from cloudphone_deploy.consistency.faults import FAULTS
from tests.consistency.test_report import found
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


def test_the_faults_there_are_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check-consistency", "--faults", "list"])
    said = capsys.readouterr().out
    assert all(name in said and fault.says in said for name, fault in FAULTS.items())


def test_no_fault_at_all_is_asked_for_by_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Say which faults" in refused(capsys, "--faults", ",")


@pytest.mark.parametrize("words", [["--seconds", "1"], ["--bffs", "1"], ["--rate", "0"], ["--readers", "2"]])
def test_too_little_to_see_anything_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "It takes at least" in refused(capsys, *words)


def test_metrics_are_a_monitors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--target" in refused(capsys, "--metrics-port", "9200")


def test_a_monitor_makes_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a monitor makes none" in refused(capsys, "--target", "http://127.0.0.1:1", "--faults", "all")


@pytest.mark.parametrize("words", [["--redis", "cluster"], ["--bus", "rabbitmq"]])
def test_a_monitor_starts_no_servers(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "a monitor starts none" in refused(capsys, "--target", "http://127.0.0.1:1", *words)


def test_a_target_is_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert "admin.example.com is no URL" in refused(capsys, "--target", "admin.example.com")


def test_a_deployment_that_gives_no_answer_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("CLOUDPHONE_SERVICE_CLIENTS", '{"operations": "secret"}')
    monkeypatch.setenv("CLOUDPHONE_PORT_BASE", str(free_port()))
    said = refused(capsys, "--target", f"http://127.0.0.1:{free_port()}", "--data", str(tmp_path))
    assert "gives no answer" in said


def test_a_folder_for_the_report_that_cannot_be_written_is_told_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = refused(capsys, "--report", str(tmp_path / "file"))
    assert "file cannot be used" in said and "--report" in said


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, 0),
        ({"false_labels": 1}, 1),
        ({"foreign": 1}, 1),
        ({"checks": 0}, 2),
        ({"cut_short": "After kill-bff: Not healthy."}, 2),
        ({"cut_short": "interrupted", "interrupted": True}, 130),
        ({"cut_short": "interrupted", "interrupted": True, "went_back": 1}, 1),
        ({"cut_short": "interrupted", "interrupted": True, "checks": 0}, 2),
    ],
)
def test_the_exit_code_says_what_was_seen_and_whether_that_was_all(seen: dict[str, Any], expected: int) -> None:
    assert exit_code(msgspec.structs.replace(found(), **seen)) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks_for_the_end_and_a_second_one_would_not_be_held_back(number: signal.Signals) -> None:
    with until_told() as told:
        signal.raise_signal(number)
        async with asyncio.timeout(30):
            await told.wait()
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == [
            signal.default_int_handler,
            signal.SIG_DFL,
        ]


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-consistency", "--help"])
        raise SystemExit
    said = capsys.readouterr().out
    for word in ("Exit code", "--faults", "--target", "nines"):
        assert word in said
