"""Ports for servers that a test starts and that must be told their port beforehand."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 12_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 1_000
_reservations: list[socket.socket] = []


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port of ``address`` that is free and stays so until this process ends.

    A port that the kernel gives out (by binding port 0) may be given out again, as the near end of anybody's
    connection, before the server that was meant to have it binds it. So the port is taken from below the range out of
    which the kernel gives, and other test processes see it as taken: each holds an abstract socket with its number.
    """
    highest = int(EPHEMERAL.read_text().split()[0]) - 1
    for _ in range(TRIES):
        port = random.randint(LOWEST, highest)
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0callplane-test-port-{port}")
            with socket.create_server((address, port)):
                pass
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise RuntimeError(f"no free port of {address} between {LOWEST} and {highest}")
