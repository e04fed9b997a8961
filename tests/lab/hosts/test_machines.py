"""Machines boot, install packages, have a firewall of their own, and leave nothing behind however their lab ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.errors import wait_until
from tests.lab.hosts.machine import Site
from tests.lab.lab import ROOT, Lab
from tests.lab.net import CONTROL_GROUPS, Slot
from tests.lab.test_teardown import descendants

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(300)]

CHILD = """
import signal, sys
from tests.lab.lab import Lab
from tests.lab.hosts.machine import Site
# A program that was started in the background of a shell ignores it, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Lab.start() as lab, Site.start(lab) as site:
    site.machine("solo").wait_up()
    print(lab.slot.number, lab.warden_pid, flush=True)
    sys.stdin.read()
"""


def control_groups(slot: Slot) -> list[Path]:
    return [group for tree in CONTROL_GROUPS for group in tree.glob(f"{slot.control_group}*")]


def test_two_machines_install_packages_and_reach_each_other() -> None:
    with Lab.start() as lab, Site.start(lab) as site:
        first, second = site.machine("one"), site.machine("two")
        for machine in (first, second):
            machine.wait_up()
            assert machine.run("hostname").stdout.strip() == machine.name
        assert first.run("cat /etc/machine-id").stdout != second.run("cat /etc/machine-id").stdout
        first.run("apt-get -q update && apt-get -q install -y --no-install-recommends nftables", timeout_s=120)
        assert second.run(f"bash -c '</dev/tcp/{first.address}/22'").returncode == 0
        first.run("nft add table inet t && nft add chain inet t c '{ type filter hook input priority 0; }'")
        first.run(f"nft add rule inet t c ip saddr {second.address} reject with tcp reset")
        assert second.run(f"bash -c '</dev/tcp/{first.address}/22'", check=False).returncode != 0
        # It reaches nothing but the lab: no default route.
        assert first.run("ip route get 192.0.2.1", check=False).returncode != 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_lab_ends(end: signal.Signals) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    number, warden = map(int, child.stdout.readline().split())
    slot = Slot(number)
    processes = descendants(warden)
    assert len(processes) > 5
    assert control_groups(slot)
    child.send_signal(end)
    child.wait(60)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 60, "the lab's processes to end")
    wait_until(lambda: not slot.directory.exists() and not control_groups(slot), 10, "the lab's files to go")
    mounts = Path("/proc/self/mounts").read_text()
    assert str(slot.directory) not in mounts
    assert slot.link not in os.listdir("/sys/class/net")
