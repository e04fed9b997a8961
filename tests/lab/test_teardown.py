"""A lab leaves nothing behind, however its process ends; and two labs on one machine do not meet."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import net
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import ROOT, Lab
from tests.lab.net import Slot

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Traces:
    """What of one lab is to be seen on the machine."""

    processes: frozenset[int]
    links: tuple[str, ...]
    mounts: tuple[str, ...]
    named_namespaces: str
    directories: tuple[Path, ...]

    def any(self) -> bool:
        return bool(self.processes or self.links or self.mounts or self.directories)


def parents() -> dict[int, int]:
    """Parent of every living process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while we looked
            if state != "Z":  # a zombie has ended and waits for whoever adopted it
                found[int(entry.name)] = int(parent)
    return found


def descendants(pid: int) -> frozenset[int]:
    tree = parents()
    found = {pid}
    while grown := {child for child, parent in tree.items() if parent in found} - found:
        found |= grown
    return frozenset(found)


def traces(slot: Slot, processes: frozenset[int]) -> Traces:
    """Traces of the lab in `slot`, whose processes were `processes`."""
    links = net.ip("-o", "link", "show").splitlines()
    mounts = Path("/proc/mounts").read_text().splitlines()
    return Traces(
        processes=processes & parents().keys(),
        links=tuple(line for line in links if f" {slot.link}@" in line),
        mounts=tuple(line for line in mounts if slot.directory.name in line),
        named_namespaces=net.ip("netns", "list"),
        directories=tuple(path for path in (slot.directory, slot.shm) if path.exists()),
    )


@dataclass(frozen=True)
class Child:
    process: "subprocess.Popen[str]"
    slot: Slot
    warden: int
    processes: frozenset[int]
    named_namespaces: str

    def expect_gone(self) -> None:
        wait_until(
            lambda: not traces(self.slot, self.processes).any(),
            10,
            f"nothing left: {traces(self.slot, self.processes)}",
        )
        assert traces(self.slot, self.processes).named_namespaces == self.named_namespaces


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    """A process with a busy lab, that ends as the test's parameter says."""
    how = getattr(request, "param", "wait")
    before = net.ip("netns", "list")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.teardown_child", how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, net.APART: "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    said = json.loads(line)
    yield Child(process, Slot(said["slot"]), said["warden"], descendants(process.pid), before)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(("child", "status"), [("end", 0), ("fail", 1)], indirect=["child"])
def test_nothing_is_left_after_success_and_after_failure(child: Child, status: int) -> None:
    assert child.process.wait(30) == status
    assert not traces(child.slot, child.processes).any()  # at once, not soon
    child.expect_gone()


def test_a_running_lab_keeps_its_mounts_and_namespaces_to_itself(child: Child) -> None:
    seen = traces(child.slot, child.processes)
    assert len(seen.processes) > 8
    assert seen.links
    assert seen.directories
    assert not seen.mounts
    assert seen.named_namespaces == child.named_namespaces


def test_nothing_is_left_after_ctrl_c(child: Child) -> None:
    os.killpg(child.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    child.process.wait(30)
    assert not traces(child.slot, child.processes).any()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_process_is_killed(child: Child, number: signal.Signals) -> None:
    child.process.send_signal(number)
    assert child.process.wait(10) == -number
    child.expect_gone()


def test_the_kernel_ends_all_when_the_warden_is_killed_too(child: Child) -> None:
    os.kill(child.warden, signal.SIGKILL)
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait(10)
    wait_until(lambda: not traces(child.slot, child.processes).processes, 10, "no process left")
    wait_until(lambda: not traces(child.slot, child.processes).links, 10, "no link left")
    assert child.slot.directory.exists()
    with Lab.start() as next_lab:  # clears what nobody could
        assert next_lab.slot == child.slot or not child.slot.directory.exists()
        assert not (child.slot.directory / "phones").exists()
    child.expect_gone()


def test_two_labs_have_networks_of_their_own(lab: Lab) -> None:
    with Lab.start() as other:
        mine, theirs = lab.host("pop1"), other.host("pop1")
        assert mine.address != theirs.address
        assert mine.run(["ip", "route", "get", theirs.address], check=False).returncode != 0
        # The machine has a cable to both, and forwards nothing between them.
        assert "cplab" in net.ip("route", "get", mine.address)
        assert "cplab" in net.ip("route", "get", theirs.address)


def test_the_range_cannot_leave_the_machine(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"unreachable|No route"):
        net.ip("route", "get", "198.19.255.1")


def test_a_directory_that_no_lab_made_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    target = tmp_path / "precious"
    target.mkdir()
    Slot(63).directory.symlink_to(target)
    with pytest.raises(LabError, match="was not made by a lab"):
        net.remove_files(Slot(63))
    assert target.exists()
