"""SIP exactly as written, by sipp on a lab host: headers that a softphone would never send."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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

    def shown(self) -> list[str]:
        """What From of each of these named as the caller: its user part."""
        invites = re.findall(r"message received.*?\n\n(INVITE .*?)\n\n", self.text().replace("\r", ""), re.S)
        callers: dict[str, str] = {}
        for text in invites:
            headers = dict(line.split(": ", 1) for line in text.split("\n")[1:] if ": " in line)
            callers.setdefault(headers["Call-ID"], re.sub(r".*<sip:|@.*", "", headers["From"]))
        return list(callers.values())


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


def _optional(*codes: int, then: str = "") -> str:
    return "".join(f'<recv response="{code}" optional="true"{then}/>\n' for code in codes)


def _invite(uri: str, caller: str, headers: str = "", sequence: int = 1) -> str:
    return f"""INVITE {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: {caller};tag=[call_number]
To: <{uri}>
Call-ID: [call_id]
CSeq: {sequence} INVITE
Contact: <sip:c@[local_ip]:[local_port]>
Max-Forwards: 70
{headers}"""


def _ack(uri: str, sequence: int = 1) -> str:
    return f"""ACK {uri} SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: {sequence} ACK
Max-Forwards: 70
"""


def invite(
    host: Host,
    server: str,
    uri: str,
    status: int,
    *,
    caller: str | None = None,
    headers: str = "",
    account: tuple[str, str] | None = None,
) -> Far:
    """One call that has to end with ``status``; for 200 it then waits for the other side's BYE. ``account``: user name
    and password to answer a challenge with."""
    caller = caller or CALLER
    steps, sequence = [], 1
    if account is not None:
        user, password = account
        steps = [_send(_invite(uri, caller, headers), sdp=True), _optional(100)]
        steps += ['<recv response="407" auth="true"/>\n', _send(_ack(uri))]
        headers += f"[authentication username={user} password={password}]\n"
        sequence = 2
    steps += [_send(_invite(uri, caller, headers, sequence), sdp=True), _optional(100, 180, 183)]
    steps += [f'<recv response="{status}"/>\n', _send(_ack(uri, sequence))]
    if status == 200:
        steps += ['<recv request="BYE"/>\n', _send(_REPLY.replace(";tag=far", ""))]
    return _start(host, _scenario(*steps), server, "-m", "1", "-timeout", "30s", "-p", str(6000 + host.serial()))


REFUSALS = (404, 484, 486)


def invites(host: Host, server: str, calls: Sequence[tuple[str, str]], rate: int = 50) -> Far:
    """A call for each pair of called and calling user part, each to be refused. Call-IDs begin with 1-, 2- and so on in
    the order of ``calls``."""
    users = [tuple(quote(text, safe="+") for text in call) for call in calls]
    lines = host.state_dir / f"sip-{host.serial()}.csv"
    lines.write_text("SEQUENTIAL\n" + "".join(f"{called};{caller}\n" for called, caller in users))
    uri = f"sip:[field0]@{server}"
    steps = [_send(_invite(uri, "<sip:[field1]@carrier.example>"), sdp=True), _optional(100, 180, 183)]
    *others, last = REFUSALS
    steps += [_optional(*others, then=' next="refused"'), f'<recv response="{last}"/>\n', '<label id="refused"/>\n']
    steps += [_send(_ack(uri))]
    options = ["-inf", str(lines), "-m", str(len(calls)), "-r", str(rate), "-timeout", "60s"]
    return _start(host, _scenario(*steps), server, *options, "-p", str(6000 + host.serial()))


def asserted(host: Host, server: str, calls: Sequence[tuple[str, str, str]]) -> Far:
    """A call for each called user part, asserted identity's user part and value of Privacy, each to be refused. From:
    is anonymous in all of them, as carriers send it of callers whose number only the network is to know."""
    lines = host.state_dir / f"sip-{host.serial()}.csv"
    # A semicolon ends a field: that of a parameter stands in the scenario.
    fields = (
        "".join(f"{part};" for part in (*_parameter(called), caller, privacy)) for called, caller, privacy in calls
    )
    lines.write_text("SEQUENTIAL\n" + "".join(f"{line}\n" for line in fields))
    uri = f"sip:[field0]@{server}"
    headers = "P-Asserted-Identity: <sip:[field2]@carrier.example>\nPrivacy: [field3]\n"
    hidden = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    steps = [_send(_invite(uri.replace("@", ";phone-context=[field1]@"), hidden, headers), sdp=True)]
    steps += [_optional(100, 180, 183), '<recv response="486"/>\n', _send(_ack(uri))]
    options = ["-inf", str(lines), "-m", str(len(calls)), "-r", "50", "-timeout", "30s"]
    return _start(host, _scenario(*steps), server, *options, "-p", str(6000 + host.serial()))


def _parameter(called: str) -> tuple[str, str]:
    """The user part, and its phone-context; a domain, which completes nothing, where it has none (RFC 3966 5.1.5)."""
    user, _, context = called.partition(";phone-context=")
    return user, context or "carrier.example"


def register(
    host: Host,
    server: str,
    account: tuple[str, str],
    status: int,
    *,
    port: int = 5060,
    as_user: str | None = None,
    expires_s: int = 120,
) -> Far:
    """One registration that has to end with ``status``; calls to it go to ``port``. ``as_user``: who is registered,
    where it is not the user of the account."""
    user, password = account
    own = as_user or user

    def request(sequence: int, more: str = "") -> str:
        return _send(f"""REGISTER sip:{server} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{own}@{server}>;tag=[call_number]
To: <sip:{own}@{server}>
Call-ID: [call_id]
CSeq: {sequence} REGISTER
Contact: <sip:{own}@[local_ip]:{port}>
Expires: {expires_s}
Max-Forwards: 70
{more}""")

    steps = [request(1), _optional(100), '<recv response="401" auth="true"/>\n']
    steps += [request(2, f"[authentication username={user} password={password}]\n"), _optional(100)]
    steps += [f'<recv response="{status}"/>\n']
    return _start(host, _scenario(*steps), server, "-m", "1", "-timeout", "20s", "-p", str(6000 + host.serial()))


def answering(host: Host, port: int = 5060) -> Far:
    """A carrier that takes every call and keeps it until the other side hangs up."""
    steps = [
        '<recv request="INVITE"/>\n',
        _send(_REPLY, sdp=True),
        '<recv request="ACK"/>\n<recv request="BYE"/>\n',
        _send(_REPLY.replace(";tag=far", "")),
    ]
    return _start(host, _scenario(*steps), "-p", str(port))
