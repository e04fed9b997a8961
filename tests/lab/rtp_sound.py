"""Sound as a capture file that sipp plays: what a phone sends while somebody talks."""

import io
import struct

import soundfile

from tests.lab.audio import tone
from tests.lab.rtp_digits import PACKET_MS, SSRC, pcap

PAYLOAD_TYPE = 8
PACKET_BYTES = 8 * PACKET_MS


def capture(tone_hz: float, duration_ms: int) -> bytes:
    """A tone in A-law packets; an incomplete last packet is left out."""
    file = io.BytesIO()
    soundfile.write(file, tone(tone_hz, duration_ms / 1000), 8000, format="RAW", subtype="ALAW")
    data, packets = file.getvalue(), []
    for number in range(len(data) // PACKET_BYTES):
        marker, at = 0x80 if number == 0 else 0, number * PACKET_BYTES
        head = struct.pack("!BBHII", 0x80, marker | PAYLOAD_TYPE, 1 + number, at, SSRC)
        packets.append(head + data[at : at + PACKET_BYTES])
    return pcap(packets)
