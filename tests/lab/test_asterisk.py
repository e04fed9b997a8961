"""The Asterisk server of the lab: start, crash, restart, bad configuration, another install."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import tiny_asterisk
from tests.lab.asterisk import AsteriskServer, check_version
from tests.lab.errors import LabError
from tests.lab.lab import Lab


def fake(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("Asterisk 20.15.2", "it is Asterisk 20.15.2; 22.5 or newer is needed, for the outbound websockets"),
        ("Asterisk 22.4.1", "it is Asterisk 22.4.1; 22.5 or newer"),
        ("Asterisk certified/20.7-cert2", "22.5 or newer is needed"),
        ("Asterisk GIT-master-abc", "22.5 or newer is needed, -V says 'Asterisk GIT-master-abc'"),
        ("", "-V says ''"),
    ],
)
def test_an_older_asterisk_is_refused_with_the_reason(tmp_path: Path, version: str, reason: str) -> None:
    with pytest.raises(LabError) as caught:
        check_version(fake(tmp_path / "asterisk", version))
    assert reason in str(caught.value)


@pytest.mark.parametrize("version", ["Asterisk 22.5.0", "Asterisk 22.10.1~dfsg+~cs6", "Asterisk 23.0.0"])
def test_a_new_enough_asterisk_is_taken(tmp_path: Path, version: str) -> None:
    assert check_version(fake(tmp_path / "asterisk", version)) == version


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be run"):
        check_version(tmp_path / "asterisk")


@pytest.fixture
def server(lab: Lab) -> Iterator[AsteriskServer]:
    host = lab.host("asterisk")
    running = AsteriskServer(host, tiny_asterisk.files(host, {"anna": "secret"}), lab)
    yield running
    running.stop()


@pytest.mark.lab
def test_stop_kill_and_restart(server: AsteriskServer) -> None:
    assert server.channels() == []
    assert server.bridges() == []
    server.process.require_running()
    assert server.process.cpu_seconds() > 0
    server.kill()
    assert server.process.poll() == -9
    with pytest.raises(LabError):
        server.cli("core show channels")
    server.start()
    server.restart()
    assert "System uptime" in server.cli("core show uptime")
    with pytest.raises(LabError, match="already running"):
        server.start()


@pytest.mark.lab
def test_it_runs_with_its_own_configuration_as_its_own_user(server: AsteriskServer, lab: Lab) -> None:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    uid = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]
    # An Asterisk of the machine's own runs as root: nobody promises that it has a user.
    assert (int(uid) == 0) == (lab.asterisk is not None)
    assert "anna" in server.cli("pjsip show endpoints")
    server.write_files({"extensions.conf": b"[later]\nexten => 1,1,Answer()\n"})
    server.cli("dialplan reload")
    assert "later" in server.cli("dialplan show later")


@pytest.mark.lab
def test_a_server_that_cannot_boot_is_an_error_with_its_log(lab: Lab) -> None:
    host = lab.host("brokenast")
    files = {"modules.conf": b"[modules]\nautoload=no\nrequire=no_such_module.so\n"}
    with pytest.raises(LabError, match="no_such_module"):
        AsteriskServer(host, files, lab)


@pytest.mark.lab
def test_paths_outside_the_configuration_directory_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="no path below"):
        AsteriskServer(lab.host("brokenast"), {"../etc/passwd": b""}, lab)


@pytest.mark.lab
def test_another_install_is_used_with_its_own_modules(lab: Lab, tmp_path: Path) -> None:
    # Stands for an install on the machine: enters the root file system, whose Asterisk finds its modules
    # there.
    host = lab.host("installed")
    wrapper = tmp_path / "asterisk"
    script = f'if [ -d {host.root}/usr ]; then exec chroot {host.root} /usr/sbin/asterisk "$@"; fi\n'
    wrapper.write_text(f"#!/bin/sh\n{script}echo Asterisk 22.9.0\n")
    wrapper.chmod(0o755)
    own, lab.asterisk = lab.asterisk, wrapper
    try:
        server = AsteriskServer(host, tiny_asterisk.files(host, {"anna": "secret"}), lab)
        assert "anna" in server.cli("pjsip show endpoints")
        server.stop()
    finally:
        lab.asterisk = own
