"""A FreeSWITCH server on a lab host.

It is an install of the machine's own (no Debian release has the package): the environment's CALLPLANE_FREESWITCH names
its prefix, or `freeswitch` is on the PATH. It runs in the machine's file system, in the lab host's network.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.lab.errors import LabError, log_tail, wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.process import Process

VARIABLE = "CALLPLANE_FREESWITCH"
OLDEST = (1, 11)  # the release on which the rendered configuration and the adapter were proven
BOOT_S = 30
STOP_S = 10
ABSENT = f"no FreeSWITCH on this machine: let {VARIABLE} name its prefix, or put freeswitch on the PATH"


def find_freeswitch() -> Path | None:
    """The installed `freeswitch` program, None when there is none.

    Raises `LabError` when the environment names a prefix that holds none: that is a mistake, not an absence."""
    prefix = os.environ.get(VARIABLE)
    if prefix:
        program = Path(prefix) / "bin" / "freeswitch"
        if not program.is_file():
            raise LabError(f"{VARIABLE}={prefix}: there is no bin/freeswitch")
        return program
    found = shutil.which("freeswitch")
    return Path(found).resolve() if found else None


def check_version(freeswitch: Path) -> str:
    """Version of an installed FreeSWITCH, such as 1.11.1. Raises `LabError` with the reason when it cannot be used."""
    try:
        done = subprocess.run(
            [freeswitch, "-version"], capture_output=True, text=True, timeout=10, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{freeswitch}: cannot be run: {error}") from error
    text = done.stdout.strip()
    found = re.match(r"FreeSWITCH version: ((\d+)\.(\d+)[^\s~+-]*)", text)
    oldest = ".".join(map(str, OLDEST))
    if found is None:
        raise LabError(f"{freeswitch}: {oldest} or newer is needed, -version says {text!r}")
    if (int(found[2]), int(found[3])) < OLDEST:
        raise LabError(f"{freeswitch}: it is FreeSWITCH {found[1]}; {oldest} or newer is needed")
    return found[1]


@dataclass(frozen=True, slots=True)
class EventSocket:
    """Where a configuration lets the event socket listen."""

    host: str
    port: int
    password: str


def event_socket(files: Mapping[str, bytes]) -> EventSocket:
    """The event socket that configuration `files` set up. Raises `LabError` when they have none."""
    text = b"\n".join(files.values()).decode(errors="replace")
    section = re.search(r'<configuration name="event_socket\.conf".*?</configuration>', text, re.S)
    found = dict(re.findall(r'<param name="([a-z-]+)" value="([^"]*)"', section[0])) if section else {}
    try:
        return EventSocket(found["listen-ip"], int(found["listen-port"]), found["password"])
    except (KeyError, ValueError) as error:
        raise LabError(f"the configuration sets up no event socket: {error!r}") from error


class FreeSwitchServer:
    """A running FreeSWITCH with its own configuration, log and database directories.

    `files` are paths relative to the configuration directory, freeswitch.xml among them. Constructing it starts the
    server and waits until it is ready and every SIP profile runs. `freeswitch` is the program to run, else the one
    that `find_freeswitch` finds.
    """

    def __init__(self, host: Host, files: Mapping[str, bytes], lab: Lab, freeswitch: Path | None = None) -> None:
        self.host = host
        program = freeswitch or find_freeswitch()
        if program is None:
            raise LabError(ABSENT)
        self.version = check_version(program)
        self._program = program
        self._process: Process | None = None
        self.directory = host.state_dir / "freeswitch"
        self.config_dir = self.directory / "conf"
        self.log_dir = self.directory / "log"
        # The databases change with every registration and call: memory, as a POP has it.
        self.db_dir = host.shm / "freeswitch-db"
        for directory in (self.config_dir, self.log_dir, self.db_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self.write_files(files)
        self.socket = event_socket(files)
        self.start()

    @property
    def process(self) -> Process:
        """The server's process, for its CPU time and for signals; `LabError` when it was never started."""
        if self._process is None:
            raise LabError(f"FreeSWITCH on {self.host.name} is not started")
        return self._process

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Write configuration files; call `cli("reloadxml")` or `restart()` for them to count."""
        for name, content in files.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts:
                raise LabError(f"{name!r} is no path below the configuration directory")
            path = self.config_dir / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def start(self) -> None:
        """Start it and wait until it takes calls. Raises `LabError` with its log when it does not."""
        if self._process is not None and self._process.poll() is None:
            raise LabError(f"FreeSWITCH on {self.host.name} is already running")
        # -conf, -log and -db go together. The rest keeps it from writing below its prefix.
        places = {"-conf": self.config_dir, "-log": self.log_dir, "-db": self.db_dir}
        for option in ("-run", "-certs", "-temp", "-storage", "-recordings", "-cache"):
            places[option] = self.directory / option[1:]
            places[option].mkdir(exist_ok=True)
        arguments: list[str | Path] = [word for option, path in places.items() for word in (option, path)]
        self._process = self.host.spawn([self._program, "-nf", "-nc", "-nonat", *arguments], name="freeswitch")

        def ready() -> bool:
            if self.process.poll() is not None:
                raise LabError(f"FreeSWITCH on {self.host.name} ended with {self.process.poll()}\n{self.logs()}")
            answer = self._fs_cli("status", check=False)
            return answer.returncode == 0 and " is ready" in answer.stdout and self._profiles_run()

        try:
            wait_until(ready, BOOT_S, f"FreeSWITCH on {self.host.name} to be ready", self.logs)
            self._require_modules()
        except LabError:
            self.process.kill()
            raise

    def _require_modules(self) -> None:
        # A module that is missing is a line in the log, and a "critical" one an abort() before that line is written.
        text = "".join(path.read_text() for path in sorted(self.config_dir.rglob("*.xml")))
        wanted = re.findall(r'<load module="(\w+)"', text)
        missing = [module for module in wanted if self.cli(f"module_exists {module}").strip() != "true"]
        if missing:
            raise LabError(f"FreeSWITCH on {self.host.name} runs without {', '.join(missing)}\n{self.logs()}")

    def _profiles_run(self) -> bool:
        status = self._fs_cli("sofia status", check=False).stdout
        # Without SIP there is no such command: "-ERR sofia Command not found!".
        profiles = [line for line in status.splitlines() if "\tprofile\t" in line]
        return all("RUNNING" in line for line in profiles)

    def stop(self) -> None:
        """Stop it in order: calls are hung up. Nothing happens when it has ended."""
        if self.process.poll() is None:
            # "shutdown" alone takes 5 s, also without calls; "shutdown now" ends at once and sends no BYE.
            self._fs_cli("fsctl hupall normal_clearing", check=False)
            with contextlib.suppress(LabError):
                self.wait_idle(STOP_S)
            self._fs_cli("fsctl shutdown now", check=False)
            try:
                self.process.wait(STOP_S)
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
        """Output of an API command. Raises `LabError` when the server does not answer."""
        return self._fs_cli(command).stdout

    def channels(self) -> list[str]:
        """Ids of the channels there are now."""
        answer = json.loads(self.cli("show channels as json"))
        return [str(row["uuid"]) for row in answer.get("rows", [])]

    def lease(self) -> int:
        """Seconds since the epoch until which the dialplan hands legs to the controller; 0: never had a lease."""
        value = self.cli("global_getvar callplane_lease").strip()
        return int(value) if value.isdigit() else 0

    def leftovers(self) -> str:
        """Channels it still holds; empty when there is none."""
        return " ".join(self.channels())

    def accounts(self) -> int:
        """How many SIP accounts of agents and trunks it knows now."""
        return self.cli("xml_locate directory").count("<user ")

    def wait_idle(self, deadline_s: float = 10) -> None:
        """Wait until no channel is left; the error names those that are."""

        def left() -> str:
            return f"{self.cli('show channels')}\n{self.logs()}"

        # The list comes from the server's database, which lags; the counter is of the sessions themselves.
        def idle() -> bool:
            return not self.channels() and re.search(r"^0 session\(s\) - peak", self.cli("status"), re.M) is not None

        wait_until(idle, deadline_s, f"no channel left on {self.host.name}", left)

    def logs(self) -> str:
        """The end of its logs, for error messages."""
        paths = (self.host.logs_dir / "freeswitch.log", self.log_dir / "freeswitch.log")
        return "\n".join(log_tail(path) for path in paths)

    def _fs_cli(self, command: str, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        at = self.socket
        words = ["-H", at.host, "-P", str(at.port), "-p", at.password, "-x", command]
        return self.host.run([self._program.with_name("fs_cli"), *words], rootfs=False, check=check, timeout_s=20)
