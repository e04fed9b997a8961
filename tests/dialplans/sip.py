"""SIP exactly as written, by sipp on a lab host: headers that a softphone would never send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.host import Host
from tests.lab.process import Process

_SDP = """v=0
o=u 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
"""
_REPLY = """SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=far
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
"""
CALLER = '"Caller" <sip:03012345678@carrier.example>'


def _send(text: str, sdp: bool = False) -> str:
    body = f"Content-Type: application/sdp\nContent-Length: [len]\n\n{_SDP}" if sdp else "Content-Length: 0\n\n"
    return f"<send><![CDATA[\n{text}{body}]]></send>\n"


def _scenario(*steps: str) -> str:
    return '<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="lab">\n' + "".join(steps) + "</scenario>\n"


@dataclass
class Far:
    """A sipp that runs; ``text`` is all SIP it saw and sent."""

    process: Process
    messages: Path

    def text(self) -> str:
        return self.messages.read_text(errors="replace") if self.messages.exists() else ""

    def dialled(self) -> list[str]:
        """The user part of each INVITE that arrived, in order, retransmissions left out."""
        found = re.findall(r"message received.*?\n\nINVITE sip:([^@ ]*)@.*?\nCall-ID: (\S+)", self.text(), re.S)
        return [number for number, _ in dict.fromkeys(found)]


def _start(host: Host, scenario: str, *arguments: str) -> Far:
    serial = host.serial()
    path = host.state_dir / f"sip-{serial}.xml"
    path.write_text(scenario)
    messages = path.with_suffix(".log")
    command: list[str | Path] = ["sipp", "-sf", path, "-i", host.address, "-nostdin"]
    command += ["-trace_msg", "-message_file", messages]
    media = str(30000 + 10 * serial)
    process = host.spawn([*command, "-mp", media, *arguments], name=path.stem, rootfs=True, cwd=host.state_dir)
    return Far(process, messages)


def invite(host: Host, server: str, uri: str, status: int, *, caller: str = CALLER, headers: str = "") -> Far:
    """One call that has to end with ``status``; for 200 it then waits for the other side's BYE."""
    request = f"""INVITE {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: {caller};tag=[call_number]
To: <{uri}>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:c@[local_ip]:[local_port]>
Max-Forwards: 70
{headers}"""
    ack = f"""ACK {uri} SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 ACK
Max-Forwards: 70
"""
    optional = "".join(f'<recv response="{code}" optional="true"/>\n' for code in (100, 180, 183))
    steps = [_send(request, sdp=True), optional, f'<recv response="{status}"/>\n', _send(ack)]
    if status == 200:
        steps += ['<recv request="BYE"/>\n', _send(_REPLY.replace(";tag=far", ""))]
    return _start(host, _scenario(*steps), server, "-m", "1", "-timeout", "30s", "-p", str(6000 + host.serial()))


def answering(host: Host, port: int = 5060) -> Far:
    """A carrier that takes every call and keeps it until the other side hangs up."""
    steps = [
        '<recv request="INVITE"/>\n',
        _send(_REPLY, sdp=True),
        '<recv request="ACK"/>\n<recv request="BYE"/>\n',
        _send(_REPLY.replace(";tag=far", "")),
    ]
    return _start(host, _scenario(*steps), "-p", str(port))
