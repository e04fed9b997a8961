"""The process that owns a lab: its namespaces, cables and files.

A lab's Python process starts a warden and talks to it over a pipe, one JSON object a line. When the pipe
ends, however that came about (teardown, a failed test, Ctrl-C, kill -9), the warden takes everything down and
goes: there is one way to tear down, not two. The warden has one thread, so that the kernel's parent-death
signal, which follows the parent's thread, ends the holders if the warden itself is killed.

Requests: {"host": NAME}, for a machine that boots also {"boot": ROOTFS, "seed": DIRECTORY}, whose files are moved into
it; replies: {"pid": N, "address": A} or {"error": TEXT}. The first line says {"slot": N, ...}.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import net
from tests.lab.errors import LabError

HOLDER = Path(__file__).with_name("holder.sh")
MACHINE = Path(__file__).with_name("machine.sh")
FIRST_HOST = 10  # addresses 2 to 9 stay free for a person's own devices
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


@dataclass
class Warden:
    """Holders of one lab, and the slot they live in."""

    rootfs: Path
    slot: net.Slot
    holders: list[subprocess.Popen[str]] = field(default_factory=list)
    switch_pid: int = 0
    hosts: dict[str, str] = field(default_factory=dict)  # name -> address

    def start(self) -> None:
        """Make the switch, the machine's cable and the files every host shares."""
        (self.slot.directory / ".layer").mkdir()
        (self.slot.directory / "resolv.conf").write_text("")
        self._write_hosts_file()
        switch = self._hold(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], "switch")
        self.switch_pid = switch.pid
        net.plug_in_machine(self.slot, switch.pid)

    def add_host(self, name: str) -> dict[str, object]:
        """Start a host; returns its process 1, as the machine numbers it, and its address."""
        address = self.next_address()
        state, shm = self.slot.directory / name, self.slot.shm / name
        for directory in (state, state / "logs", shm):
            directory.mkdir()
        # Recordings are written here by the media server's user and read by the controller's.
        shm.chmod(0o777)
        (state / "shm").symlink_to(shm)
        self.hosts[name] = address
        self._write_hosts_file()
        arguments = ["sh", str(HOLDER), name, str(self.rootfs), str(self.slot.directory), str(shm)]
        pid, _ = self._isolated(arguments, name)
        net.plug_in_host(name, address, pid, self.switch_pid)
        return {"pid": pid, "address": address, "switch": self.switch_pid}

    def boot_machine(self, name: str, rootfs: str, seed: str) -> dict[str, object]:
        """Boot a machine with systemd; returns as `add_host` does, while it is still starting."""
        address = self.next_address()
        state = self.slot.directory / name
        for directory in (state, state / "logs"):
            directory.mkdir()
        os.rename(seed, state / "seed")
        self.hosts[name] = address
        self._write_hosts_file()
        group = f"{self.slot.control_group}{name}"
        pid, holder = self._isolated(["sh", str(MACHINE), name, rootfs, str(self.slot.directory), group], name)
        net.plug_in_host(name, address, pid, self.switch_pid)
        if holder.stdin is not None:
            holder.stdin.write("go\n")
            holder.stdin.flush()
        return {"pid": pid, "address": address, "switch": self.switch_pid}

    def next_address(self) -> str:
        return self.slot.address(FIRST_HOST + len(self.hosts))

    def _isolated(self, arguments: list[str], name: str) -> tuple[int, subprocess.Popen[str]]:
        """Start the process 1 of a host in namespaces of its own: its number on the machine, and its holder."""
        unshare = ("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
        holder = self._hold([*unshare, "--mount-proc", "--propagation", "private", "--", *arguments], name)
        pid = child_of(holder.pid)
        if pid is None:
            raise LabError(f"host {name} ended while starting")
        return pid, holder

    def stop(self) -> None:
        """End every process of the lab, then its cable; returns when they are gone."""
        for holder in reversed(self.holders):
            holder.kill()  # unshare takes its child along, and that child every process of its host
            holder.wait()
            for pipe in (holder.stdin, holder.stdout):
                if pipe is not None:
                    pipe.close()
        net.unplug_machine(self.slot)

    def _write_hosts_file(self) -> None:
        names = {"localhost": "127.0.0.1", "machine": self.slot.machine_address, **self.hosts}
        # Written in place: the hosts have this very file mounted over their own.
        (self.slot.directory / "hosts").write_text("".join(f"{address}\t{name}\n" for name, address in names.items()))

    def _hold(self, command: list[str], name: str) -> subprocess.Popen[str]:
        log = self.slot.directory / f"{name}.holder.log"
        with log.open("w") as errors:
            holder = subprocess.Popen(
                [*DIE_WITH_PARENT, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.holders.append(holder)
        if holder.stdout is None or holder.stdout.readline() != "ready\n":
            raise LabError(f"host {name} did not start: {log.read_text().strip()}")
        return holder


def child_of(pid: int) -> int | None:
    """The first child of a process, as the machine numbers it; None when it has none (any more)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while we looked
            if int(fields[1]) == pid:
                return int(entry.name)
    return None


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


def main() -> int:
    """Serve requests from standard input until it ends, then tear down."""
    try:
        slot, claim = net.claim_slot()
    except LabError as error:
        _say({"error": str(error)})
        return 1
    warden = Warden(Path(sys.argv[1]), slot)
    try:
        warden.start()
        _say({"slot": slot.number})
        for line in sys.stdin:
            try:
                request = json.loads(line)
                if "boot" in request:
                    _say(warden.boot_machine(request["host"], request["boot"], request["seed"]))
                else:
                    _say(warden.add_host(request["host"]))
            except LabError as error:
                _say({"error": str(error)})
    except (LabError, BrokenPipeError) as error:
        print(f"warden: {error}", file=sys.stderr)
        return 1
    finally:
        warden.stop()
        net.release_slot(slot, claim)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
