"""A process whose disk is slow or full: its system calls are delayed, or refused, by strace. Nothing else on the
machine notices, and the process runs on as it is when the block is left."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.lab.errors import LabError, wait_until

SLOW = ("fsync,fdatasync:delay_enter=1500000", "pwrite64:delay_enter=15000")
"""Microseconds: a disk that needs one and a half seconds to make sure, and blocks writers now and then."""
FULL = ("pwrite64,ftruncate,fallocate:error=ENOSPC",)


def available() -> bool:
    return shutil.which("strace") is not None


def _traced(pid: int) -> bool:
    """Every thread of it has a tracer."""
    threads = [entry / "status" for entry in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in status.read_text() for status in threads)


@contextlib.asynccontextmanager
async def injected(pid: int, rules: Sequence[str], paths: Sequence[Path]) -> AsyncIterator[None]:
    """``rules`` of strace's ``-e inject`` for what the process does with these files, until the block ends."""
    if not available():
        raise LabError("strace is missing; install it with: apt-get install strace")
    wanted = ",".join(rule.partition(":")[0] for rule in rules)
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={wanted}"]
    for rule in rules:
        command += ["-e", f"inject={rule}"]
    for path in paths:
        command += ["-P", str(path)]
    running = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        attached = lambda: running.returncode is not None or _traced(pid)  # noqa: E731
        await asyncio.to_thread(wait_until, attached, 10, "strace to attach")
        if running.returncode is not None:
            said = b"" if running.stderr is None else await running.stderr.read()
            raise LabError(f"strace ended with {running.returncode}: {said.decode(errors='replace')}")
        yield
    finally:
        if running.returncode is None:
            running.terminate()
            await running.wait()
