"""An Asterisk server on a lab host."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from tests.lab.errors import LabError, LabTimeoutError, log_tail, wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.process import Process

OLDEST = (22, 5)  # the first release with the outbound websockets that the controller relies on
BOOT_S = 30
USER = "asterisk"
LOGGER = b"""[general]
dateformat=%F %T.%3q
[logfiles]
console => notice,warning,error
messages.log => notice,warning,error,verbose(3)
"""


def check_version(asterisk: Path) -> str:
    """Version text of an installed Asterisk. Raises `LabError` with the reason when it cannot be used."""
    try:
        done = subprocess.run(
            [asterisk, "-V"], capture_output=True, text=True, timeout=10, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"--asterisk {asterisk}: cannot be run: {error}") from error
    text = done.stdout.strip()
    # Certified releases ("certified/20.7-cert2") are numbered after the release they branched from.
    found = re.match(r"Asterisk (?:certified/|certified-)?(\d+)\.(\d+)", text)
    if found is None:
        raise LabError(f"--asterisk {asterisk}: 22.5 or newer is needed, -V says {text!r}")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise LabError(
            f"--asterisk {asterisk}: it is {text}; 22.5 or newer is needed, for the outbound websockets"
            " over which the controller is reached"
        )
    return text


class AsteriskServer:
    """A running Asterisk with its own configuration, run, spool and log directories.

    `files` are paths relative to /etc/asterisk. The directories in `asterisk.conf` and, when `files` has
    none, `logger.conf` are the lab's. Constructing it starts the server and waits until it is fully booted.
    """

    def __init__(self, host: Host, files: Mapping[str, bytes], lab: Lab) -> None:
        self.host = host
        self._installed = lab.asterisk
        if self._installed is not None:
            check_version(self._installed)
        self._process: Process | None = None
        self.directory = host.state_dir / "asterisk"
        self.config_dir = self.directory / "etc"
        self.spool_dir = self.directory / "spool"
        self.log_dir = self.directory / "log"
        for directory in (self.config_dir, self.spool_dir, self.log_dir, self.directory / "run"):
            directory.mkdir(parents=True, exist_ok=True)
        self.write_files(files)
        if self._installed is None:
            # By the root file system's own user table, which is not the machine's.
            self._run(["chown", "-R", f"{USER}:{USER}", self.directory])
        self.start()

    @property
    def process(self) -> Process:
        """The server's process, for its CPU time and for signals; `LabError` when it was never started."""
        if self._process is None:
            raise LabError(f"Asterisk on {self.host.name} is not started")
        return self._process

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Write configuration files; call `cli("core reload")` or `restart()` for them to count."""
        for name, content in {"logger.conf": LOGGER, "asterisk.conf": b"", **files}.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts:
                raise LabError(f"{name!r} is no path below the configuration directory")
            path = self.config_dir / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._with_directories(content) if name == "asterisk.conf" else content)

    def _with_directories(self, content: bytes) -> bytes:
        """`asterisk.conf` with its [directories] section replaced by the lab's.

        Directories of modules and data stay unset, so that they are those of the install.
        """
        ours = (
            f"[directories]\nastetcdir => {self.config_dir}\nastrundir => {self.directory / 'run'}\n"
            f"astspooldir => {self.spool_dir}\nastlogdir => {self.log_dir}\nastdbdir => {self.directory}\n"
        )
        rest = re.sub(rb"(?ms)^\[directories\].*?(?=^\[|\Z)", b"", content)
        return ours.encode() + rest

    def start(self) -> None:
        """Start it and wait until it is fully booted. Raises `LabError` with its log when it is not."""
        if self._process is not None and self._process.poll() is None:
            raise LabError(f"Asterisk on {self.host.name} is already running")
        as_user = ["-U", USER, "-G", USER] if self._installed is None else []
        self._process = self.host.spawn(
            [*self._command(), "-f", "-n", "-vvv", *as_user],
            name="asterisk",
            rootfs=self._installed is None,
        )

        def booted() -> bool:
            self.process.require_running()
            answer = self._rx("core waitfullybooted", check=False)
            return "fully booted" in answer.stdout

        try:
            wait_until(booted, BOOT_S, f"Asterisk on {self.host.name} to boot", self.logs)
        except LabTimeoutError:
            self.process.kill()
            raise

    def stop(self) -> None:
        """Stop it in order: calls are hung up. Nothing happens when it has ended."""
        if self.process.poll() is None:
            self._rx("core stop now", check=False)
            try:
                self.process.wait(5)
            except LabError:
                self.process.kill()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()

    def restart(self) -> None:
        """Stop it, if it runs, and start it again with the same files."""
        self.stop()
        self.start()

    def cli(self, command: str) -> str:
        """Output of a console command. Raises `LabError` when the server does not answer."""
        return self._rx(command).stdout

    def channels(self) -> list[str]:
        """Names of the channels there are now."""
        lines = self.cli("core show channels concise").splitlines()
        return [line.split("!")[0] for line in lines if "!" in line]

    def bridges(self) -> list[str]:
        """Ids of the bridges there are now."""
        lines = self.cli("bridge show all").splitlines()
        return [line.split()[0] for line in lines[1:] if line.strip()]

    def lease(self) -> int:
        """Seconds since the epoch until which the dialplan hands legs to the controller; 0: never had a lease."""
        found = re.search(r"CALLPLANE_LEASE=(\d+)", self.cli("dialplan show globals"))
        return int(found[1]) if found else 0

    def leftovers(self) -> str:
        """Channels and bridges it still holds; empty when there is nothing."""
        return " ".join([*self.channels(), *self.bridges()])

    def accounts(self) -> int:
        """How many SIP accounts of agents and trunks it knows now."""
        listed = self.cli("pjsip list endpoints")
        return sum(line.strip().startswith("Endpoint:") for line in listed.splitlines())

    def wait_idle(self, deadline_s: float = 10) -> None:
        """Wait until no channel and no bridge is left; the error names those that are."""

        def left() -> str:
            return f"channels: {self.channels()}, bridges: {self.bridges()}\n{self.logs()}"

        what = f"no channel or bridge left on {self.host.name}"
        wait_until(lambda: not self.channels() and not self.bridges(), deadline_s, what, left)

    def logs(self) -> str:
        """The end of its logs, for error messages."""
        return "\n".join(
            log_tail(path) for path in (self.host.logs_dir / "asterisk.log", self.log_dir / "messages.log")
        )

    def _command(self) -> list[str | Path]:
        binary: str | Path = self._installed if self._installed is not None else "/usr/sbin/asterisk"
        return [binary, "-C", self.config_dir / "asterisk.conf"]

    def _rx(self, command: str, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self._run([*self._command(), "-rx", command], check=check)

    def _run(self, command: Sequence[str | Path], *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.host.run(command, rootfs=self._installed is None, check=check, timeout_s=20)
