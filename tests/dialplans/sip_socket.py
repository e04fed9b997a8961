"""A SIP far end as a UDP socket in the test's own process: every message as it is, and when it came."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.lab.errors import LabTimeoutError

SDP = "v=0\r\no=u 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{media}"
PAYLOADS = {
    "alaw": "8 PCMA/8000",
    "ulaw": "0 PCMU/8000",
    "g722": "9 G722/8000",
    "g726": "97 G726-32/8000",
    "g729": "18 G729/8000",
    "gsm": "3 GSM/8000",
    "opus": "96 opus/48000/2",
}
_serial = itertools.count(1)


@dataclass(frozen=True)
class Message:
    """``at``: seconds of the monotonic clock."""

    text: str
    at: float

    @property
    def start(self) -> str:
        return self.text.partition("\r\n")[0]

    def header(self, name: str) -> str:
        """Empty where there is none."""
        found = re.search(rf"(?im)^{re.escape(name)}:[ \t]*(.*?)\r$", self.text)
        return found[1] if found else ""

    @property
    def codecs(self) -> list[str]:
        """Names of what is offered or chosen, in order, telephone-event left out."""
        media = re.search(r"(?m)^m=audio \d+ \S+ (.*?)\r?$", self.text)
        names = dict(re.findall(r"(?m)^a=rtpmap:(\d+) ([^/\r\n]+)", self.text))
        listed = [names.get(payload, payload) for payload in (media[1].split() if media else [])]
        return [name for name in listed if name != "telephone-event"]


class SipSocket:
    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self.address, self.port = self._socket.getsockname()
        self.seen: list[Message] = []
        self._to = (address, 5060)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def send(self, to: tuple[str, int], text: str) -> None:
        self._socket.sendto(text.replace("\r\n", "\n").replace("\n", "\r\n").encode(), to)

    def wait(self, wanted: Callable[[Message], bool], what: str, deadline_s: float = 10) -> Message:
        """The next message that is wanted; others are kept in ``seen``, as it is."""
        end = time.monotonic() + deadline_s
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, self._to = self._socket.recvfrom(65536)
            except TimeoutError:
                break
            message = Message(data.decode(), time.monotonic())
            self.seen.append(message)
            if wanted(message):
                return message
        got = "; ".join(message.start for message in self.seen)
        raise LabTimeoutError(f"no {what} within {deadline_s:g} s: {got}")

    def forget(self) -> None:
        """What has come and was not read."""
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(65536)

    def response(self, status: int, method: str = "INVITE", deadline_s: float = 10) -> Message:
        """The final response to ``method``, which has to be ``status``."""
        final = self.wait(
            lambda m: m.start.startswith("SIP/2.0 ") and m.start[8] != "1" and m.header("CSeq").endswith(method),
            f"final response to {method}",
            deadline_s,
        )
        assert int(final.start.split()[1]) == status, final.text
        return final

    def request(self, method: str, deadline_s: float = 10) -> Message:
        return self.wait(lambda m: m.start.startswith(f"{method} "), method, deadline_s)

    def answer(self, request: Message, status: str = "200 OK") -> None:
        copied = "\n".join(f"{name}: {request.header(name)}" for name in ("Via", "From", "Call-ID", "CSeq"))
        to = request.header("To")
        to += "" if ";tag=" in to else ";tag=far"
        self.send(self._to, f"SIP/2.0 {status}\n{copied}\nTo: {to}\nContent-Length: 0\n\n")

    def invite(
        self, server: str, called: str, codecs: tuple[str, ...] = ("alaw",), headers: str = "", cseq: int = 1
    ) -> str:
        """The Call-ID of a call that is begun."""
        call_id = f"call-{next(_serial)}"
        numbers = [PAYLOADS[codec] for codec in codecs]
        media = f"m=audio {self.port + 1 & ~1} RTP/AVP {' '.join(one.split()[0] for one in numbers)}\n"
        media += "".join(f"a=rtpmap:{one}\n" for one in numbers)
        body = SDP.format(address=self.address, media=media).replace("\r\n", "\n").replace("\n", "\r\n")
        self.send(
            (server, 5060),
            f"{self._head('INVITE', f'sip:{called}@{server}', call_id, cseq)}{headers}"
            f"Content-Type: application/sdp\nContent-Length: {len(body)}\n\n{body}",
        )
        return call_id

    def acknowledge(self, response: Message) -> None:
        uri = re.sub(r"^.*<([^>]+)>.*$", r"\1", response.header("Contact")) or f"sip:{self._to[0]}"
        cseq = response.header("CSeq").split()[0]
        head = self._head("ACK", uri, response.header("Call-ID"), int(cseq), response.header("To"))
        self.send(self._to, f"{head}Content-Length: 0\n\n")

    def hang_up(self, response: Message) -> None:
        uri = re.sub(r"^.*<([^>]+)>.*$", r"\1", response.header("Contact"))
        head = self._head("BYE", uri, response.header("Call-ID"), 2, response.header("To"))
        self.send(self._to, f"{head}Content-Length: 0\n\n")
        self.response(200, "BYE")

    def _head(self, method: str, uri: str, call_id: str, cseq: int, to: str = "") -> str:
        """The request line and headers, but for those of the body."""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address}:{self.port};rport;branch=z9hG4bK{next(_serial)}",
            f"From: <sip:+491701234567@{self.address}>;tag=t{call_id}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:c@{self.address}:{self.port}>",
            "Max-Forwards: 70",
        ]
        return "\n".join(lines) + "\n"
