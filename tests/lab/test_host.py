"""Hosts of the lab: programs, their environment and their errors."""

import signal
import sys

import pytest

from tests.lab.errors import LabError, wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.host("hosttest")


def test_names_resolve_and_unknown_ones_fail_at_once(lab: Lab, host: Host) -> None:
    for rootfs in (True, False):
        answer = host.run(["getent", "hosts", "hosttest", "machine"], rootfs=rootfs).stdout
        assert host.address in answer
        assert lab.machine_address in answer
        host.run(["getent", "hosts", "no-such-name.example"], rootfs=rootfs, check=False, timeout_s=2)


def test_machine_and_hosts_reach_one_another(lab: Lab, host: Host) -> None:
    other = lab.host("hosttest2")
    listen = "import socket; s = socket.create_server(('', 4000)); print('up', flush=True)"
    listen += "\nwhile 1: s.accept()"
    server = host.spawn([sys.executable, "-c", listen], name="listen")
    wait_until(lambda: "up" in server.log_text(), 5, "the listener")
    connect = f"import socket; socket.create_connection(('{host.address}', 4000), 2)"
    other.run(["python3", "-c", connect])
    host.run([sys.executable, "-c", connect], rootfs=False)
    host.unplug()
    with pytest.raises(LabError, match=r"timed out|No route|Errno"):
        other.run(["python3", "-c", connect])
    host.plug_in()
    other.run(["python3", "-c", connect])
    server.kill()
    assert server.poll() == -signal.SIGKILL


def test_state_and_memory_are_the_same_in_all_views(host: Host) -> None:
    for directory in (host.state_dir, host.shm):
        host.run(["sh", "-c", f"echo inside > {directory}/from-rootfs"])
        assert (directory / "from-rootfs").read_text() == "inside\n"
        (directory / "from-machine").write_text("outside")
        for rootfs in (True, False):
            assert host.run(["cat", directory / "from-machine"], rootfs=rootfs).stdout == "outside"
    assert "tmpfs" in host.run(["stat", "-f", "-c", "%T", f"{host.shm}/"]).stdout


def test_root_file_systems_are_apart(lab: Lab, host: Host) -> None:
    host.run(["sh", "-c", "echo mine > /etc/only-here"])
    assert lab.host("hosttest2").run(["cat", "/etc/only-here"], check=False).returncode != 0


def test_bound_directory_is_read_only_inside(host: Host, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("prompts")
    (directory / "hello").write_text("hello")
    host.bind(directory)
    assert host.run(["cat", directory / "hello"]).stdout == "hello"
    with pytest.raises(LabError, match="Read-only"):
        host.run(["touch", directory / "more"])


def test_signals_and_cpu_time_are_the_programs_own(host: Host) -> None:
    spin = host.spawn([sys.executable, "-c", "while True: pass"], name="spin")
    wait_until(lambda: spin.cpu_seconds() > 0.1, 10, "CPU time to be counted")
    spin.signal(signal.SIGSTOP)
    wait_until(lambda: "T" in _state(spin.pid), 2, "the program to stop")
    assert spin.poll() is None
    spin.signal(signal.SIGCONT)
    wait_until(lambda: "T" not in _state(spin.pid), 2, "the program to go on")
    assert spin.stop() == -signal.SIGTERM
    assert spin.cpu_seconds() > 0.1


def test_a_stopped_program_can_be_killed(host: Host) -> None:
    sleeper = host.spawn(["sleep", "1000"], name="sleeper", rootfs=True)
    sleeper.signal(signal.SIGSTOP)
    wait_until(lambda: "T" in _state(sleeper.pid), 2, "the program to stop")
    sleeper.kill()
    assert sleeper.poll() == -signal.SIGKILL


def test_exit_status_is_the_programs_own(host: Host) -> None:
    for status in (0, 1, 7):
        assert host.spawn(["sh", "-c", f"exit {status}"], name="exits").wait() == status


def test_errors_say_what_the_program_said(host: Host) -> None:
    with pytest.raises(LabError, match=r"ended with 3: oh no"):
        host.run(["sh", "-c", "echo oh no; exit 3"])
    with pytest.raises(LabError, match="took more than"):
        host.run(["sleep", "61.7"], timeout_s=0.2)
    assert "61.7" not in host.run(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout
    with pytest.raises(LabError, match="no name for a lab host"):
        Lab.host(_lab_without_warden(), "Bad/Name")


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def _lab_without_warden() -> Lab:
    lab = Lab.__new__(Lab)
    lab._hosts = {}
    return lab
