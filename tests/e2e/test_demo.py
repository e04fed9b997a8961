"""``make demo`` as a person starts it: its proof is complete, its settings work, and it leaves nothing."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import net
from tests.lab.errors import wait_until
from tests.lab.lab import ROOT
from tests.lab.net import Slot
from tests.lab.test_teardown import descendants, traces

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


class Demo:
    """A running demo whose output is a pipe, not a terminal."""

    def __init__(self, arguments: list[str]) -> None:
        self.named_namespaces = net.ip("netns", "list")
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def read_to(self, mark: str) -> str:
        """Read its output up to and with the line that holds ``mark``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if mark in line:
                return line
        raise AssertionError(f"the demo ended with {self.process.wait()} before it said {mark!r}:\n{self.text}")

    def read_to_end(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait(30)

    def expect_gone(self, slot: Slot, processes: frozenset[int]) -> None:
        wait_until(lambda: not traces(slot, processes).any(), 10, f"nothing left: {traces(slot, processes)}")
        assert traces(slot, processes).named_namespaces == self.named_namespaces


@pytest.fixture
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    asterisk = request.config.getoption("--asterisk")
    started = Demo([*request.param, *(["--asterisk", asterisk] if asterisk else [])])
    yield started
    if started.process.poll() is None:
        os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()
    if started.process.stdout is not None:
        started.process.stdout.close()


def slot_of(demo: Demo) -> Slot:
    """The lab's slot, from the drawing of who is where."""
    found = re.search(r"this machine 198\.18\.(\d+)\.1 ", demo.read_to("this machine"))
    assert found is not None
    return Slot(int(found[1]))


@pytest.mark.parametrize("demo", [["--once"]], indirect=True)
def test_the_demo_proves_what_it_says_and_leaves_nothing(demo: Demo) -> None:
    slot = slot_of(demo)
    demo.read_to("talking")
    running = descendants(demo.process.pid)
    assert len(running) > 8
    assert demo.read_to_end() == 0, demo.text
    demo.expect_gone(slot, running)

    assert "\x1b" not in demo.text  # no drawing where there is no terminal
    assert "PROOF COMPLETE" in demo.text
    assert "FAILED" not in demo.text
    for line in (
        "+491701234567 heard anna's 600 Hz",
        "caller's 1000 Hz on the left",
        "agent's 600 Hz on the left",
        "agent's 600 Hz on the right",
        "caller's 1000 Hz on the right",
        "+442079460123 refused: no file at the POP",
        "RONA: ",
        "hung up while waiting: abandoned",
        "pressed wrong digits: goodbye",
    ):
        assert f"ok   {line}" in demo.text or re.search(rf"ok   .*{re.escape(line)}", demo.text), line
    downloaded = re.findall(r"downloaded: (\S+)", demo.text)
    assert len(downloaded) == 5
    assert all(Path(path).read_bytes().startswith(b"RIFF") for path in downloaded)


@pytest.mark.parametrize("demo", [[]], indirect=True)
def test_without_once_it_stays_up_for_a_person_and_ends_with_ctrl_c(demo: Demo) -> None:
    slot = slot_of(demo)
    demo.read_to("Ctrl-C stops it all")
    running = descendants(demo.process.pid)
    assert "PROOF COMPLETE" in demo.text
    status = re.search(r"your status +(curl .*)", demo.text)
    calls = re.search(r"calls +(curl .*)", demo.text)
    assert status is not None
    assert calls is not None
    said = [subprocess.run(shlex.split(f[1]), capture_output=True, text=True, check=True) for f in (status, calls)]
    assert said[0].stdout == ""
    assert '"+491701234567"' in said[1].stdout
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.read_to_end() == 0, demo.text
    demo.expect_gone(slot, running)
    assert "nothing is left but the cache" in demo.text
