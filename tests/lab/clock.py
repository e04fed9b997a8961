"""A clock of a host's own, which can be stepped: by libfaketime in the host's programs. Time that only runs (monotonic)
is the kernel's, as it is on a machine whose clock is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from tests.lab.host import Host

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu/faketime"), Path("/usr/lib/aarch64-linux-gnu/faketime")
# libfaketime shares memory by process number, which hosts have in common; so each has a /dev/shm of its own, in which
# the lab's own directory is where it was.
OWN_SHM = (
    'd=$(realpath "$0") && exec 9<"$d" && mount -t tmpfs shm /dev/shm && mkdir -p "$d"'
    ' && mount --no-canonicalize --bind /proc/self/fd/9 "$d"'
)


class HostClock:
    """``HostClock.of(host)`` before the host's programs are started."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.offset_s = 0.0
        """By how much it is ahead of the machine's."""
        self._file = host.state_dir / "clock"
        self.variables = (
            f"LD_PRELOAD={directory / 'libfaketimeMT.so.1'}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        self.step(0)

    @classmethod
    def of(cls, host: Host) -> HostClock:
        """Raises LabError where there is no libfaketime."""
        directory = next((found for found in LIBRARIES if found.is_dir()), None)
        if directory is None:
            raise LabError("libfaketime is missing; install it with: apt-get install libfaketime")
        host.bind(directory)
        host.run(["sh", "-c", OWN_SHM, host.shm], rootfs=False)
        host.clock = cls(host, directory)
        return host.clock

    def step(self, by_s: float) -> None:
        """Forward, or back where it is negative."""
        self.offset_s += by_s
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.offset_s:+.3f}\n")
        new.rename(self._file)
