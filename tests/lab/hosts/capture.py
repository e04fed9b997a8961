"""What crossed a cable of the lab: a capture by tcpdump, and what can be read in it."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import rootfs
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.hosts.machine import Machine

SIP = (b"SIP/2.0", b"INVITE sip:", b"REGISTER sip:")
ETHERNET, IPV4, TCP, UDP = 14, 0x0800, 6, 17


@dataclass(frozen=True, slots=True)
class Packet:
    source: str
    target: str
    protocol: int
    source_port: int
    target_port: int
    payload: bytes


class Capture:
    def __init__(self, path: Path) -> None:
        self.path = path

    def packets(self) -> list[Packet]:
        """TCP and UDP packets so far; the last may still be being written."""
        data = self.path.read_bytes()
        found, at = [], 24
        while at + 16 <= len(data):
            (length,) = struct.unpack_from("<I", data, at + 8)
            frame = data[at + 16 : at + 16 + length]
            at += 16 + length
            if len(frame) < ETHERNET + 28 or struct.unpack_from("!H", frame, 12)[0] != IPV4:
                continue
            found.append(_packet(frame[ETHERNET:]))
        return [packet for packet in found if packet is not None]

    def sip_in_clear(self) -> list[Packet]:
        return [packet for packet in self.packets() if any(word in packet.payload for word in SIP)]

    def rtp(self, address: str) -> list[Packet]:
        """RTP to or from ``address`` (version 2, a static or dynamic payload type of sound)."""
        return [
            packet
            for packet in self.packets()
            if packet.protocol == UDP
            and address in (packet.source, packet.target)
            and len(packet.payload) > 100
            and packet.payload[0] >> 6 == 2
        ]

    def between(self, one: str, other: str) -> list[Packet]:
        """What crossed between two addresses, either way."""
        return [packet for packet in self.packets() if {packet.source, packet.target} == {one, other}]

    def wait_for_sound(self, address: str, packets: int) -> None:
        """Wait until there are so many packets of sound to or from ``address``."""
        wait_until(lambda: len(self.rtp(address)) >= packets, 20, f"{packets} packets of sound")


@contextlib.contextmanager
def capturing_machine(machine: Machine) -> Iterator[Capture]:
    """The same of a machine, which has no tcpdump of its own: the lab's is let into its network, and nothing else."""
    path = machine.site.directory / f"{machine.name}.pcap"
    enter = ["nsenter", f"--target={machine.pid}", "--net", "chroot", str(rootfs.path_of())]
    with path.open("wb") as file, (machine.site.directory / "tcpdump.log").open("wb") as log:
        process = subprocess.Popen(
            [*enter, "tcpdump", "-U", "-n", "-i", "eth0", "-w", "-", "ip and not port 22"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=log,
        )
        try:
            wait_until(lambda: path.stat().st_size >= 24, 10, "tcpdump to capture")
            yield Capture(path)
        finally:
            process.terminate()
            process.wait(10)


def unevenness(packets: list[Packet], of: int = 4000) -> float:
    """How unevenly the byte values of the first ``of`` bytes of sound are spread: chi squared, 255 degrees of freedom.
    What is encrypted has about 255, seldom more than 330; speech, music and tones in G.711 have far more."""
    sound = b"".join(packet.payload[12:] for packet in packets)[:of]
    expected = len(sound) / 256
    return sum((sound.count(value) - expected) ** 2 / expected for value in range(256))


@contextlib.contextmanager
def capturing(host: Host, name: str = "cable") -> Iterator[Capture]:
    """All that crosses the cable of ``host`` until the block ends."""
    path = host.state_dir / f"{name}.pcap"
    path.unlink(missing_ok=True)
    process = host.spawn(["tcpdump", "-U", "-n", "-i", "eth0", "-w", path, "ip"], name=f"tcpdump-{name}", rootfs=True)
    wait_until(lambda: path.exists() and path.stat().st_size >= 24, 10, "tcpdump to capture", process.log_text)
    try:
        yield Capture(path)
    finally:
        process.stop()


def _packet(ip: bytes) -> Packet | None:
    header, protocol = (ip[0] & 15) * 4, ip[9]
    (total,) = struct.unpack_from("!H", ip, 2)
    if protocol not in (TCP, UDP) or len(ip) < header + 8:
        return None
    source_port, target_port = struct.unpack_from("!HH", ip, header)
    body = header + (8 if protocol == UDP else (ip[header + 12] >> 4) * 4)
    source, target = (".".join(map(str, ip[at : at + 4])) for at in (12, 16))
    return Packet(source, target, protocol, source_port, target_port, ip[body:total])
