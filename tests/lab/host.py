"""A host of the lab: its own network, processes, name and root file system, on this machine's kernel."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab import net
from tests.lab.clock import HostClock
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.warden import child_of

OPEN_FILES = 65536
# Forks the program into the host's process namespace and ends as it ended. nsenter could do this itself, but
# it stops when the program is stopped, and then nobody collects the program's end.
FORK_AND_WAIT = '"$@"; code=$?; if [ $code -gt 128 ]; then kill -$((code - 128)) $$; fi; exit $code'
ROOTFS_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Host:
    """One lab host. Made by `Lab.host`; it goes when the lab goes."""

    def __init__(self, name: str, address: str, pid: int, directory: Path, switch_pid: int) -> None:
        self.name = name
        self.address = address
        self.state_dir = directory / name
        self.processes: list[Process] = []
        self.root = directory / ".layer" / "root"
        self.clock: HostClock | None = None
        """Where it has one of its own, of which the programs know that are started from then on."""
        self._pid, self._switch_pid = pid, switch_pid
        self._serials = itertools.count()

    @property
    def logs_dir(self) -> Path:
        """Where the output of this host's programs goes."""
        return self.state_dir / "logs"

    @property
    def shm(self) -> Path:
        """Memory-backed directory: same path on the machine, the host and in its root file system."""
        return self.state_dir / "shm"

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        rootfs: bool = False,
        cwd: Path | None = None,
    ) -> Process:
        """Start a program on this host; its output is appended to `logs_dir/NAME.log`.

        With `rootfs` it runs in the host's own Debian root file system, else in the machine's. `env` is added
        to the environment. Raises `LabError` when it cannot be started.
        """
        log_path = self.logs_dir / f"{name}.log"
        with log_path.open("ab") as log:
            entered = subprocess.Popen(
                self._enter(command, rootfs=rootfs, cwd=cwd),
                env=self._env(env, rootfs=rootfs),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the lab, which then ends its programs in order
            )
        process = Process(entered, f"{self.name}/{name}", log_path)
        self.processes.append(process)
        return process

    def run(
        self,
        command: Sequence[str | Path],
        *,
        rootfs: bool = True,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30,
        check: bool = True,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return its output; standard error is part of `stdout`.

        Raises `LabError` with the output when it fails (unless `check` is false) or takes more than
        `timeout_s`.
        """
        words = " ".join(map(str, command))
        entered = subprocess.Popen(
            self._enter(command, rootfs=rootfs, cwd=cwd),
            env=self._env(env, rootfs=rootfs),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = entered.communicate(timeout=timeout_s)
        except BaseException as error:
            program = child_of(entered.pid)
            if program is not None:
                os.kill(program, signal.SIGKILL)  # the shell then ends by itself
            output, _ = entered.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise LabError(f"{self.name}: {words} took more than {timeout_s:g} s: {output}") from error
            raise
        done = subprocess.CompletedProcess(list(map(str, command)), entered.returncode, output)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {words} ended with {done.returncode}: {done.stdout.strip()}")
        return done

    def bind(self, source: Path) -> None:
        """Show a directory of the machine, read-only, at the same path inside the root file system."""
        source = source.resolve()
        inside = Path(f"{self.root}{source}")
        script = 'mkdir -p "$1" && mount --bind "$0" "$1" && mount -o remount,bind,ro "$1"'
        self.run(["sh", "-c", script, source, inside], rootfs=False)
        # The media server's own user has to walk through directories that may be private to root.
        parents = [Path(f"{self.root}{parent}") for parent in source.parents if parent != Path("/")]
        self.run(["chmod", "a+x", *parents], rootfs=False)

    def serial(self) -> int:
        """0, 1, 2 and so on: tells the far ends of one host apart, e.g. by their ports."""
        return next(self._serials)

    def unplug(self) -> None:
        """Take the host off the network: its cable is pulled, its programs go on."""
        net.ip("link", "set", "eth0", "down", netns_of=self._pid)

    def plug_in(self) -> None:
        """Put the host back on the network."""
        net.ip("link", "set", "eth0", "up", netns_of=self._pid)

    @contextlib.contextmanager
    def filtered(self, leaving: Sequence[str] = (), coming: Sequence[str] = ()) -> Iterator[None]:
        """Until the block ends these nftables rules are for what leaves this host, and for what comes to it."""
        with net.filtered_cable(self.name, self._switch_pid, leaving, coming):
            yield

    @contextlib.contextmanager
    def cut_from(self, other: Host) -> Iterator[None]:
        """Until the block ends nothing of the other host comes here, and nothing gets there."""
        with self.filtered([f"ip daddr {other.address} drop"], [f"ip saddr {other.address} drop"]):
            yield

    def _enter(self, command: Sequence[str | Path], *, rootfs: bool, cwd: Path | None) -> list[str]:
        # After the shell each replaces itself by the next: the program has the process id it forked.
        words = ["nsenter", f"--target={self._pid}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        words += ["--no-fork", "--", "sh", "-c", FORK_AND_WAIT, "sh"]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # raising this one needs more than root
        words += ["prlimit", f"--nofile={hard if hard < OPEN_FILES else OPEN_FILES}:", "--"]
        if rootfs:
            words += ["chroot", str(self.root)]
        directory = cwd or (Path("/") if rootfs else Path.cwd())
        clock = () if self.clock is None else self.clock.variables
        return [*words, "env", f"--chdir={directory}", *clock, *map(str, command)]

    @staticmethod
    def _env(env: Mapping[str, str] | None, *, rootfs: bool) -> dict[str, str]:
        return {**(ROOTFS_ENV if rootfs else os.environ), **(env or {})}
