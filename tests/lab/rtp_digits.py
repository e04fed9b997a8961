"""RFC 4733 digits as capture files that sipp plays.

sipp's own `play_dtmf` chooses the payload type itself and starts every digit at the same RTP timestamp, so a
receiver takes the second digit for a repetition of the first.
"""

import struct
from collections.abc import Iterable

EVENTS = "0123456789*#ABCD"
PAYLOAD_TYPE = 101
PACKET_MS = 20
PRESS_PACKETS = 5
END_PACKETS = 3  # RFC 4733, 2.5.1.4: the end is sent three times
PACKETS = PRESS_PACKETS + END_PACKETS
DURATION_MS = PACKETS * PACKET_MS
SSRC = 0x0CA11


def capture(digit: str, index: int) -> bytes:
    """A pcap file with the packets of one digit, the `index`-th (from 0) that its call sends.

    Raises `ValueError` for what is no digit.
    """
    if len(digit) != 1 or digit not in EVENTS:
        raise ValueError(f"{digit!r} is no digit: {EVENTS}")
    packets = []
    timestamp = 8000 * (index + 1)  # one for the whole event, and later than that of the digit before
    for number in range(PACKETS):
        ended = number >= PRESS_PACKETS
        samples = min(number + 1, PRESS_PACKETS) * PACKET_MS * 8
        event = struct.pack("!BBH", EVENTS.index(digit), (0x80 if ended else 0) | 10, samples)
        marker = 0x80 if number == 0 else 0
        rtp = struct.pack("!BBHII", 0x80, marker | PAYLOAD_TYPE, 1 + index * PACKETS + number, timestamp, SSRC)
        packets.append(rtp + event)
    return pcap(packets)


def pcap(packets: Iterable[bytes]) -> bytes:
    """A capture file of these RTP packets, `PACKET_MS` apart."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)  # link type 1: Ethernet
    for number, packet in enumerate(packets):
        frame, (s, ms) = _frame(packet), divmod(number * PACKET_MS, 1000)
        out += struct.pack("<IIII", 1 + s, ms * 1000, len(frame), len(frame)) + frame
    return out


def _frame(payload: bytes) -> bytes:
    """An Ethernet frame with a UDP packet; sipp puts in addresses and ports when it sends."""
    udp = struct.pack("!HHHH", 4000, 4000, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1])
    )
    return bytes(12) + b"\x08\x00" + head + udp
