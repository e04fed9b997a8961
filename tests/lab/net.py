"""Addresses and links of a lab, and the claim that keeps two labs on one machine apart.

Each lab has a slot: a number that gives it one /24 of 198.18.0.0/15 (the range kept for benchmarks, RFC
2544), a directory and a link name. A slot is claimed by an abstract Unix socket, which lives in the network
namespace of the machine, leaves no file and is given back by the kernel when its process dies.
"""

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab.errors import LabError, wait_until

RANGE = "198.18.0.0/15"
SLOTS = 64
ROUTE_PROTOCOL = "198"  # marks our unreachable route, so that teardown removes no one else's
BRIDGE = "br0"
APART = "CALLPLANE_LAB_APART"
"""Set for a lab whose slot is looked at after its end: it takes the last one, which nobody takes at once."""
CONTROL_GROUPS = tuple(Path("/sys/fs/cgroup", tree) for tree in ("", "unified", "systemd"))
"""Where a booted machine's control groups may be: one tree, or the two of the older layout."""


@dataclass(frozen=True)
class Slot:
    """Names that belong to one lab; the parts on disk exist only while it runs."""

    number: int

    @property
    def link(self) -> str:
        """The machine's end of the cable to the lab's switch."""
        return f"cplab{self.number}"

    @property
    def directory(self) -> Path:
        """State of all hosts of this lab."""
        return Path(tempfile.gettempdir()) / f"callplane-lab-{self.number}"

    @property
    def shm(self) -> Path:
        """Memory-backed state of all hosts of this lab."""
        return Path("/dev/shm") / f"callplane-lab-{self.number}"  # noqa: S108 - the claim guards the name

    @property
    def control_group(self) -> str:
        """What the names of the control groups of this lab's machines begin with."""
        return f"callplane-lab-{self.number}-"

    @property
    def machine_address(self) -> str:
        """Address of the machine itself on the lab's network."""
        return self.address(1)

    def address(self, index: int) -> str:
        """The address numbered `index` (1 to 254); raises `LabError` when the /24 is used up."""
        if not 1 <= index <= 254:
            raise LabError(f"a lab has 254 addresses, number {index} was asked for")
        return f"198.18.{self.number}.{index}"


def _bind(name: str) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0callplane-lab-{name}")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return claim


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold the machine-wide lock for changes to what labs share: the route and the table of slots."""
    lock = wait_until(lambda: _bind("lock"), 30, "another lab to finish starting or stopping")
    try:
        yield
    finally:
        lock.close()


def claim_slot() -> tuple[Slot, socket.socket]:
    """Take a free slot, clear what killed labs left, and see that the lab range cannot leave the machine.

    The caller keeps the socket for as long as it uses the slot.
    """
    with _one_at_a_time():
        claims = {number: claim for number in range(SLOTS) if (claim := _bind(str(number))) is not None}
        if not claims:
            raise LabError(f"all {SLOTS} lab slots of this machine are in use")
        for number in claims:
            remove_files(Slot(number))
        mine = max(claims) if os.environ.get(APART) else min(claims)
        for number, claim in claims.items():
            if number != mine:
                claim.close()
        if not _has_route():
            ip("route", "add", "unreachable", RANGE, "proto", ROUTE_PROTOCOL)
        for directory in (Slot(mine).directory, Slot(mine).shm):
            directory.mkdir(mode=0o755)
            directory.chmod(0o755)  # the media server's own user walks through it, whatever the umask
        return Slot(mine), claims[mine]


def release_slot(slot: Slot, claim: socket.socket) -> None:
    """Remove the slot's files and, when no other lab runs, the unreachable route."""
    with _one_at_a_time():
        remove_files(slot)
        others = [number for number in range(SLOTS) if number != slot.number and in_use(number)]
        if not others and _has_route():
            ip("route", "del", "unreachable", RANGE, "proto", ROUTE_PROTOCOL)
        claim.close()


def in_use(number: int) -> bool:
    claim = _bind(str(number))
    if claim is None:
        return True
    claim.close()
    return False


def _has_route() -> bool:
    return bool(ip("route", "show", "type", "unreachable", "proto", ROUTE_PROTOCOL, RANGE).strip())


def remove_control_groups(slot: Slot) -> None:
    """Remove the control groups of a slot's machines, whose processes are gone, in every tree that has them."""
    for tree in CONTROL_GROUPS:
        for group in tree.glob(f"{slot.control_group}*"):
            for directory, _, _ in os.walk(group, topdown=False):
                wait_until(partial(_removed, Path(directory)), 5, f"{directory} to be empty")


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False  # the kernel still takes leave of its processes
    return True


def remove_files(slot: Slot) -> None:
    """Remove directories and control groups of a slot whose processes are gone; refuses what a lab did not make."""
    remove_control_groups(slot)
    for path in (slot.directory, slot.shm):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise LabError(f"{path} is in the way and was not made by a lab: look at it and remove it")
        wait_until(partial(_removed_all, path), 5, f"{path} to be nobody's")


def _removed_all(path: Path) -> bool:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return not path.exists()  # a process that is about to end took a file away itself
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False  # one still wrote
    return True


def ip(*arguments: str, batch: str | None = None, netns_of: int | None = None) -> str:
    """Output of `ip ARGUMENTS`, in the network namespace of process `netns_of` if given.

    With `batch`, its lines are commands for one run of ip. Raises `LabError` with ip's own words.
    """
    command = ["ip", *arguments] if batch is None else ["ip", "-batch", "-"]
    if netns_of is not None:
        command = ["nsenter", f"--net=/proc/{netns_of}/ns/net", *command]
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}\n{batch or ''}")
    return done.stdout


def plug_in_machine(slot: Slot, switch_pid: int) -> None:
    """Make the switch's bridge and the cable between it and the machine."""
    ip(
        netns_of=switch_pid,
        batch=f"link add {BRIDGE} type bridge\nlink set {BRIDGE} up\nlink set lo up\n",
    )
    ip("link", "add", slot.link, "type", "veth", "peer", "name", "machine", "netns", str(switch_pid))
    ip(netns_of=switch_pid, batch=f"link set machine master {BRIDGE}\nlink set machine up\n")
    ip(
        batch=f"link set {slot.link} addrgenmode none\n"
        f"addr add {slot.machine_address}/24 dev {slot.link}\nlink set {slot.link} up\n"
    )


def _port(name: str) -> str:
    """Of the switch; a bare host name could be a word of ip's own language, as "carrier" is."""
    return f"to-{name}"


@contextlib.contextmanager
def filtered_cable(name: str, switch_pid: int, leaving: Sequence[str], coming: Sequence[str]) -> Iterator[None]:
    """Until the block ends these nftables rules are for what leaves the host, and for what comes to it.

    They are at the switch: who sends hears nothing of what is lost, as in a network. A rule at the sender's own end
    would tell its program (EPERM), and media servers do not send that again.
    """
    table = f"netdev cable_{name.replace('-', '_')}"
    chains = ""
    for hook, rules in (("ingress", leaving), ("egress", coming)):
        hooked = f'type filter hook {hook} device "{_port(name)}" priority 0;'
        chains += f"chain {hook} {{ {hooked} {' '.join(f'{rule};' for rule in rules)} }}; "
    _nft(switch_pid, f"table {table} {{ {chains}}}")
    try:
        yield
    finally:
        _nft(switch_pid, f"delete table {table}")


def _nft(netns_of: int, commands: str) -> None:
    command = ["nsenter", f"--net=/proc/{netns_of}/ns/net", "nft", commands]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")


def plug_in_host(name: str, address: str, host_pid: int, switch_pid: int) -> None:
    """Give a host its eth0 with `address`, the other end of the cable in the switch."""
    port = _port(name)
    ip(
        *("link", "add", "name", port, "netns", str(switch_pid), "type", "veth"),
        *("peer", "name", "eth0", "netns", str(host_pid)),
    )
    ip(netns_of=switch_pid, batch=f"link set {port} master {BRIDGE}\nlink set {port} up\n")
    ip(
        netns_of=host_pid,
        batch=f"link set lo up\nlink set eth0 addrgenmode none\naddr add {address}/24 dev eth0\nlink set eth0 up\n",
    )


def unplug_machine(slot: Slot) -> None:
    """Remove the machine's cable now; the kernel would do it a moment after the switch is gone."""
    if not _plugged_in(slot):
        return
    try:
        ip("link", "del", slot.link)
    except LabError:
        if _plugged_in(slot):  # else the kernel was quicker
            raise


def _plugged_in(slot: Slot) -> bool:
    return f" {slot.link}@" in ip("-o", "link", "show")
