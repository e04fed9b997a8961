"""The FreeSWITCH server of the lab: found or not, start, calls, crash, restart, bad configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import tiny_freeswitch
from tests.lab.errors import LabError, wait_until
from tests.lab.freeswitch import VARIABLE, FreeSwitchServer, check_version, event_socket, find_freeswitch
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.support.freeswitch import freeswitch_or_skip


def fake(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (
            "FreeSWITCH version: 1.10.12-release~64bit ( 64bit)",
            "it is FreeSWITCH 1.10.12; 1.11 or newer is needed",
        ),
        ("FreeSWITCH version: 1.8.7+git~2020 (git 64bit)", "it is FreeSWITCH 1.8.7"),
        ("Asterisk 22.5.0", "1.11 or newer is needed, -version says 'Asterisk 22.5.0'"),
        ("", "-version says ''"),
    ],
)
def test_an_unsuitable_version_is_refused_with_the_reason(tmp_path: Path, version: str, reason: str) -> None:
    with pytest.raises(LabError) as caught:
        check_version(fake(tmp_path / "freeswitch", version))
    assert reason in str(caught.value)


@pytest.mark.parametrize("version", ["1.11.1-release~64bit ( 64bit)", "1.11.0-dev+git~20260101 (git 64bit)", "2.0.0"])
def test_a_new_enough_version_is_taken(tmp_path: Path, version: str) -> None:
    program = fake(tmp_path / "freeswitch", f"FreeSWITCH version: {version}")
    assert version.startswith(check_version(program))


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be run"):
        check_version(tmp_path / "freeswitch")


def test_the_environment_names_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake(tmp_path / "prefix" / "bin" / "freeswitch", "")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "prefix"))
    assert find_freeswitch() == program
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(LabError, match="there is no bin/freeswitch"):
        find_freeswitch()


def test_the_path_is_searched_and_absence_skips_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=f"no FreeSWITCH on this machine: let {VARIABLE}"):
        freeswitch_or_skip()
    program = fake(tmp_path / "freeswitch", "FreeSWITCH version: 1.11.1-release~64bit ( 64bit)")
    assert freeswitch_or_skip() == program


def test_a_configuration_without_event_socket_is_refused() -> None:
    with pytest.raises(LabError, match="no event socket: KeyError"):
        event_socket({"freeswitch.xml": b'<configuration name="sofia.conf"></configuration>'})


@pytest.fixture
def server(lab: Lab) -> Iterator[FreeSwitchServer]:
    program = freeswitch_or_skip()
    host = lab.host("freeswitch")
    running = FreeSwitchServer(host, tiny_freeswitch.files(host), lab, program)
    yield running
    running.stop()


@pytest.mark.lab
def test_it_answers_a_call_and_nothing_is_left(server: FreeSwitchServer, lab: Lab) -> None:
    run = Sipp.callers(lab.host("carrier"), server.host.address, [("+4917", "echo")], hold_ms=300)
    wait_until(lambda: len(server.channels()) == 1, 5, "the call", server.logs)
    run.finish(10).require_success(1)
    server.wait_idle()
    assert server.channels() == []


@pytest.mark.lab
def test_stopping_it_hangs_up_its_calls(server: FreeSwitchServer, lab: Lab) -> None:
    run = Sipp.callers(lab.host("carrier"), server.host.address, [("+4917", "echo")] * 5, rate=50, hold_ms=None)
    wait_until(lambda: len(server.channels()) == 5, 5, "five calls", server.logs)
    server.stop()
    run.finish(10).require_success(5)
    assert server.process.poll() == 0


@pytest.mark.lab
def test_stop_kill_and_restart(server: FreeSwitchServer) -> None:
    server.process.require_running()
    assert server.process.cpu_seconds() > 0
    server.kill()
    assert server.process.poll() == -9
    with pytest.raises(LabError):
        server.cli("status")
    server.start()
    server.restart()
    assert " is ready" in server.cli("status")
    with pytest.raises(LabError, match="already running"):
        server.start()
    server.stop()
    server.stop()


@pytest.mark.lab
def test_it_takes_changed_files(server: FreeSwitchServer) -> None:
    changed = tiny_freeswitch.files(server.host)["freeswitch.xml"].replace(b"^echo$", b"^later$")
    server.write_files({"freeswitch.xml": changed})
    assert "+OK" in server.cli("reloadxml")
    assert "^later$" in server.cli("xml_locate dialplan context name calls")


@pytest.mark.lab
def test_it_writes_nothing_below_its_prefix(server: FreeSwitchServer) -> None:
    program = freeswitch_or_skip()
    started = server.config_dir.stat().st_mtime
    written = [path for path in program.parents[1].rglob("*") if path.is_file() and path.stat().st_mtime > started]
    assert written == []


@pytest.mark.lab
def test_a_server_without_one_of_its_modules_is_an_error(lab: Lab) -> None:
    program = freeswitch_or_skip()
    host = lab.host("brokenfs")
    with pytest.raises(LabError, match="runs without mod_no_such"):
        FreeSwitchServer(host, tiny_freeswitch.files(host, (*tiny_freeswitch.MODULES, "no_such")), lab, program)


@pytest.mark.lab
def test_paths_outside_the_configuration_directory_are_refused(lab: Lab) -> None:
    program = freeswitch_or_skip()
    with pytest.raises(LabError, match="no path below"):
        FreeSwitchServer(lab.host("brokenfs"), {"../etc/passwd": b""}, lab, program)
