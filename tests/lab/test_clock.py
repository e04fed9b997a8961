"""A host's own clock, and a process's own disk: only what is meant is touched, and it ends."""

from __future__ import annotations

import asyncio
import errno
import sys
import time
from pathlib import Path

from tests.chaos.syscalls import FULL, injected
from tests.lab.clock import HostClock
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.process import Process

# libfaketime refuses Python's own sleep; a loop of events does not use it.
TELL = """
import select, time
while True:
    print(time.time(), time.monotonic(), flush=True)
    select.select([], [], [], 0.05)
"""
SHELL = "while :; do date +%s; sleep 0.1; done"
WRITE = """
import os, sys, time
while True:
    with open(sys.argv[1], "r+b") as file:
        try:
            print(os.pwrite(file.fileno(), b"x", 0), flush=True)
        except OSError as error:
            print(error.errno, flush=True)
    time.sleep(0.02)
"""


def last(process: Process) -> list[float]:
    lines = process.log_text().splitlines()
    return [float(word) for word in lines[-2].split()] if len(lines) > 2 else []


def test_a_step_is_seen_by_the_hosts_programs_and_not_by_monotonic_time(lab: Lab) -> None:
    host, other = lab.host("clock1"), lab.host("clock2")
    clock = HostClock.of(host)
    telling = host.spawn([sys.executable, "-c", TELL], name="telling")
    inside = host.spawn(["sh", "-c", SHELL], name="inside", rootfs=True)
    elsewhere = other.spawn([sys.executable, "-c", TELL], name="telling")
    clock.step(3600)
    clock.step(-7200)
    wait_until(lambda: (last(telling) or [time.time()])[0] < time.time() - 3590, 10, "the step")
    wait_until(lambda: (last(inside) or [time.time()])[0] < time.time() - 3590, 10, "the step, in the root file system")
    wall, running = last(telling)
    assert abs(running - time.monotonic()) < 5
    assert abs(wall + 3600 - time.time()) < 5
    wait_until(lambda: last(elsewhere) != [], 10, "the other host")
    assert abs(last(elsewhere)[0] - time.time()) < 5
    for process in (telling, inside, elsewhere):
        process.kill()


async def test_a_full_disk_is_one_files_and_ends(tmp_path: Path) -> None:
    files = tmp_path / "full", tmp_path / "other"
    for file in files:
        file.write_bytes(b".")
    said = [tmp_path / "full.log", tmp_path / "other.log"]
    for log, file in zip(said, files, strict=True):
        with log.open("wb") as output:
            writing = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITE, file, stdout=output)
        try:
            wait_until(lambda log=log: "1\n" in log.read_text(), 10, "something to be written")  # type: ignore[misc]
            async with injected(writing.pid, FULL, [files[0]]):
                seen = len(log.read_text().splitlines())
                wait_until(lambda log=log, seen=seen: len(log.read_text().splitlines()) > seen + 5, 10, "more")  # type: ignore[misc]
                words = log.read_text().splitlines()[seen + 1 :]
            assert set(words) == ({str(errno.ENOSPC)} if file == files[0] else {"1"})
            wait_until(lambda log=log: log.read_text().endswith("1\n"), 10, "room again")  # type: ignore[misc]
        finally:
            writing.kill()
            await writing.wait()
