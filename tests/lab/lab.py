"""The lab: hosts of its own on this machine, on a network that cannot leave it.

    with Lab.start() as lab:
        pop = lab.host("pop1")
        pop.run(["asterisk", "-V"])

Needs root. See README.md in this directory for what is where and how it is taken down.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from rich.console import Console

from tests.lab import rootfs
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.net import Slot

ROOT = Path(__file__).resolve().parents[2]


class Lab:
    """A started lab. `Lab.start()` is a context manager and the way to get one."""

    def __init__(self, warden: "subprocess.Popen[str]", slot: Slot, asterisk: Path | None) -> None:
        self.slot = slot
        self.asterisk = asterisk
        self._warden = warden
        self._hosts: dict[str, Host] = {}
        self._prefixes = 0

    @classmethod
    @contextlib.contextmanager
    def start(cls, asterisk: str | Path | None = None, console: Console | None = None) -> Iterator[Self]:
        """A lab without hosts; builds the root file system first when the cache has none.

        `asterisk` names an installed Asterisk (22.5 or newer) to use instead of the root file system's.
        Raises `LabError` when the machine cannot hold a lab.
        """
        lab = cls.open(asterisk, console)
        try:
            yield lab
        finally:
            lab.close()

    @classmethod
    def open(cls, asterisk: str | Path | None = None, console: Console | None = None) -> Self:
        """As `start`, for callers that close it themselves."""
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and mounts: run it as root")
        base = rootfs.ensure(console=console)
        warden = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.warden", str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C must not reach it: the end of its pipe is its signal
        )
        try:
            slot = Slot(int(str(cls._reply(warden)["slot"])))
        except BaseException:
            cls._end(warden)
            raise
        return cls(warden, slot, Path(asterisk) if asterisk is not None else None)

    @property
    def machine_address(self) -> str:
        """Address of this machine on the lab's network."""
        return self.slot.machine_address

    @property
    def warden_pid(self) -> int:
        """The process that takes the lab down when this one lets go of it."""
        return self._warden.pid

    @property
    def hosts(self) -> list[Host]:
        """The hosts made so far."""
        return list(self._hosts.values())

    def prefix(self) -> str:
        """A prefix for names of hosts that no call before this one got."""
        self._prefixes += 1
        return f"s{self._prefixes}-"

    def host(self, name: str) -> Host:
        """The host of that name, made at first use; a name has up to 12 of a-z, 0-9 and -."""
        if name not in self._hosts:
            self._check_name(name)
            reply = self._ask({"host": name})
            directory = self.slot.directory
            self._hosts[name] = Host(
                name, str(reply["address"]), int(str(reply["pid"])), directory, int(str(reply["switch"]))
            )
        return self._hosts[name]

    def boot(self, name: str, rootfs_dir: Path, seed: Path) -> tuple[str, int]:
        """Boot `rootfs_dir` as a machine of that name; its address, and its process 1 as this machine numbers it. The
        files below `seed` are moved into it."""
        self._check_name(name)
        if name in self._hosts:
            raise LabError(f"{name!r} is taken: it is a host of this lab")
        reply = self._ask({"host": name, "boot": str(rootfs_dir), "seed": str(seed)})
        return str(reply["address"]), int(str(reply["pid"]))

    @staticmethod
    def _check_name(name: str) -> None:
        # The name is an interface name in the switch, a host name and a directory.
        if not (name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 12):
            raise LabError(f"{name!r} is no name for a lab host: up to 12 of a-z, 0-9 and -")
        if name in {"machine", "localhost"}:
            raise LabError(f"{name!r} is taken: it is this machine")

    def close(self) -> None:
        """End every program of the lab and remove all its traces. May be called twice."""
        self._end(self._warden)
        for host in self._hosts.values():
            for process in host.processes:
                process.wait()

    def _ask(self, request: dict[str, str]) -> dict[str, object]:
        if self._warden.stdin is None or self._warden.poll() is not None:
            raise LabError("the lab is closed")
        self._warden.stdin.write(json.dumps(request) + "\n")
        self._warden.stdin.flush()
        return self._reply(self._warden)

    @staticmethod
    def _reply(warden: "subprocess.Popen[str]") -> dict[str, object]:
        line = warden.stdout.readline() if warden.stdout is not None else ""
        if not line:
            raise LabError("the lab's warden ended; its reason is on standard error")
        reply: dict[str, object] = json.loads(line)
        if "error" in reply:
            raise LabError(str(reply["error"]))
        return reply

    @staticmethod
    def _end(warden: "subprocess.Popen[str]") -> None:
        if warden.stdin is not None and not warden.stdin.closed:
            warden.stdin.close()
        try:
            code = warden.wait(30)
        except subprocess.TimeoutExpired as error:
            warden.kill()  # the kernel then ends what it holds; its files go when the next lab starts
            warden.wait()
            raise LabError("the lab's warden did not finish its teardown within 30 s") from error
        if warden.stdout is not None:
            warden.stdout.close()
        if code != 0:
            raise LabError(f"the lab's warden ended with {code}; its reason is on standard error")
