"""What crosses the wire of a lab host: a capture by tcpdump, and its IPv4 payloads."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.lab.audio import Samples
from tests.lab.errors import wait_until
from tests.lab.host import Host

_ETHERNET, _IPV4, _TCP, _UDP = 14, 0x0800, 6, 17
_RTP_HEADER, _ALAW, _PACKET = 12, 8, 160


@dataclass(frozen=True, slots=True)
class Sent:
    source: str
    target: str
    udp: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    path: Path

    def between(self, one: Host, other: Host) -> list[Sent]:
        """What these two said to each other, in order."""
        ends = {one.address, other.address}
        return [sent for sent in _sent(self.path.read_bytes()) if {sent.source, sent.target} == ends and sent.payload]


@contextlib.contextmanager
def capturing(host: Host) -> Iterator[Capture]:
    """All that ``host`` sends and receives while in the block."""
    path = host.state_dir / "wire.pcap"
    # Whole packets, each written at once; as root, because the directory is.
    command: list[str | Path] = ["tcpdump", "-i", "eth0", "-s", "0", "-U", "-Z", "root", "-w", path, "ip"]
    process = host.spawn(command, name="tcpdump", rootfs=True)
    wait_until(lambda: path.exists() and path.stat().st_size >= 24, 10, "tcpdump to capture", process.log_text)
    try:
        yield Capture(path)
    finally:
        process.stop()


def _sent(data: bytes) -> Iterator[Sent]:
    at = 24
    while at + 16 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(frame) < _ETHERNET + 28 or struct.unpack_from("!H", frame, 12)[0] != _IPV4:
            continue
        ip = frame[_ETHERNET : _ETHERNET + struct.unpack_from("!H", frame, _ETHERNET + 2)[0]]
        rest = ip[(ip[0] & 15) * 4 :]
        source, target = (".".join(map(str, ip[begin : begin + 4])) for begin in (12, 16))
        if ip[9] == _UDP:
            yield Sent(source, target, True, rest[8:])
        elif ip[9] == _TCP:
            yield Sent(source, target, False, rest[(rest[12] >> 4) * 4 :])


def says_sip(sent: list[Sent]) -> bool:
    """Whether any of it is SIP that everybody can read (RFC 3261, 7)."""
    return any(b"SIP/2.0" in one.payload or b"sip:" in one.payload for one in sent)


def sound(sent: list[Sent], source: Host) -> Samples:
    """What somebody hears who takes what ``source`` sent for RTP with G.711 A-law in clear (RFC 3550, RFC 3551)."""
    heard = b"".join(
        one.payload[_RTP_HEADER : _RTP_HEADER + _PACKET]
        for one in sent
        if one.udp
        and one.source == source.address
        and len(one.payload) >= _RTP_HEADER + _PACKET
        and _is_alaw(one.payload)
    )
    raw = {"channels": 1, "samplerate": 8000, "format": "RAW", "subtype": "ALAW"}
    samples, _ = soundfile.read(io.BytesIO(heard), dtype="float64", **raw)
    return np.asarray(samples, dtype=np.float64)


def _is_alaw(payload: bytes) -> bool:
    return payload[0] >> 6 == 2 and payload[1] & 0x7F == _ALAW
