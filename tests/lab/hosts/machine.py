"""A lab machine: a bare Debian host with systemd, reached by SSH as any host would be.

with Lab.start() as lab, Site.start(lab) as site:
    pop = site.machine("pop1")
    pop.run("systemctl is-system-running --wait")
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab import rootfs
from tests.lab.errors import LabError, log_tail, wait_until
from tests.lab.hosts import packages
from tests.lab.lab import Lab

BARE = rootfs.Recipe(
    suite="forky",
    # What the installer leaves on a host without a desktop, and Python, which Ansible asks for.
    packages=(
        "ca-certificates",
        "dbus",
        "iproute2",
        "openssh-server",
        "procps",
        "python3",
        "python3-apt",
        "systemd-sysv",
    ),
    revision=2,
)
BOOT_S = 60


@dataclass(slots=True)
class Machine:
    name: str
    address: str
    pid: int
    """Its process 1, as this machine numbers it."""
    site: Site

    def run(self, command: str, *, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command there as root; standard error is part of `stdout`. Raises `LabError`."""
        done = subprocess.run(
            ["ssh", *self.site.ssh_options(), f"root@{self.address}", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command} ended with {done.returncode}: {done.stdout.strip()}")
        return done

    def wait_up(self, deadline_s: float = BOOT_S) -> None:
        """Wait until it has booted and lets root in by SSH. Raises `LabError` with its console's end."""
        wait_until(
            lambda: self.run("systemctl is-system-running --wait", check=False).stdout.strip() == "running",
            deadline_s,
            f"{self.name} to boot",
            lambda: log_tail(self.site.lab.slot.directory / self.name / "logs" / "console.log"),
        )


@dataclass(slots=True)
class Site:
    """The machines of a lab, the key that opens them, and the mirror they install from."""

    lab: Lab
    mirror: str
    base: Path
    directory: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def start(cls, lab: Lab) -> Iterator[Self]:
        """No machine yet; builds the bare root file system first when the cache has none."""
        base = rootfs.ensure(BARE)
        directory = lab.slot.directory / ".site"
        directory.mkdir(mode=0o700)
        _new_key(directory / "key")
        with packages.serving(lab.machine_address) as mirror:
            yield cls(lab, mirror, base, directory)

    @property
    def key(self) -> Path:
        """The private key that opens every machine; made for this lab alone."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def ssh_options(self) -> list[str]:
        """Options of ssh(1) that reach the machines and nothing of this user's own configuration."""
        return [
            *("-F", "none", "-i", str(self.key)),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR"),
        ]

    def machine(self, name: str, base: Path | None = None) -> Machine:
        """Boot a machine; returns while it is starting. `base`: another root file system than the bare one."""
        seed = Path(tempfile.mkdtemp(dir=self.directory))
        _new_key(seed / "etc/ssh/ssh_host_ed25519_key")
        _write(seed / "etc/hostname", f"{name}\n")
        _write(seed / "root/.ssh/authorized_keys", self.key.with_suffix(".pub").read_text())
        source = f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {self.mirror} {BARE.suite} main\n"
        _write(seed / "etc/apt/sources.list", source)
        # The archive copy may be older than its Release file allows. Signatures are still checked.
        _write(seed / "etc/apt/apt.conf.d/80lab", 'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n')
        # Empty: it gets one at boot, but units stay as they are, which "uninitialized" would set to the presets.
        _write(seed / "etc/machine-id", "")
        host_key = (seed / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        for private in (seed, seed / "root", seed / "root/.ssh"):
            private.chmod(0o755 if private == seed else 0o700)
        address, pid = self.lab.boot(name, base or self.base, seed)
        with self.known_hosts.open("a") as file:
            file.write(f"{address} {host_key}")
        self.machines[name] = Machine(name, address, pid, self)
        return self.machines[name]


def _new_key(path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        raise LabError("ssh-keygen is missing: `make lab-hosts` and `make test-hosts` install openssh-client")
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "callplane-lab", "-f", str(path)], check=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
