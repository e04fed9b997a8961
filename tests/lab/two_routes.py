"""A carrier's gateway with two routes, as far as one caller needs it: INVITE to the first, and to the next when nothing
is heard from there in time (RFC 3263, 4.3: a failed element is one that does not answer). Runs on a lab host:

    python -m tests.lab.two_routes OWN_ADDRESS CALLED GIVE_UP_S ROUTE...

A call every ``EVERY_S``, each hung up when it is answered. Says a line of JSON for each that is over: when it began and
was answered, by which route (0: the first); answered is null when no route did.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass

T1_S = 0.5
"""First retransmission (RFC 3261, 17.1.1.2)."""
RINGS_S = 8.0
EVERY_S = 0.25
RTP_PORT = 40000


@dataclass(frozen=True, slots=True)
class Dialog:
    """One INVITE to one route."""

    own: str
    port: int
    route: str
    called: str
    caller: str
    call_id: str
    branch: str

    def request(self, method: str, cseq: int, to: str = "", branch: str = "", body: str = "") -> bytes:
        uri = f"sip:{self.called}@{self.route}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.own}:{self.port};branch={branch or self.branch}",
            f"From: <sip:{self.caller}@{self.own}>;tag={self.call_id}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {self.call_id}@{self.own}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.caller}@{self.own}:{self.port}>",
            "Max-Forwards: 70",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def invite(self) -> bytes:
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {self.own}\r\ns=-\r\nc=IN IP4 {self.own}\r\nt=0 0\r\n"
            f"m=audio {RTP_PORT} RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
        return self.request("INVITE", 1, body=body)


def _heard(link: socket.socket, dialog: Dialog, until: float) -> tuple[int, str] | None:
    """Status and To: of the next response to the dialog's INVITE; None: none came in time."""
    while (left := until - time.monotonic()) > 0:
        if not select.select([link], [], [], left)[0]:
            return None
        try:
            head = link.recv(65535).decode(errors="replace").partition("\r\n\r\n")[0].split("\r\n")
        except OSError:
            continue  # the other side's port is closed: the same as silence
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        ours = headers.get("call-id", "").startswith(f"{dialog.call_id}@")
        if ours and head[0].startswith("SIP/2.0 ") and headers.get("cseq", "").endswith("INVITE"):
            return int(head[0].split()[1]), headers.get("to", "")
    return None


def tried(link: socket.socket, dialog: Dialog, give_up_s: float) -> float | None:
    """When the route answered; None: it did not, or refused."""
    began, resend, status = time.monotonic(), T1_S, 0
    target = (dialog.route, 5060)
    _send(link, dialog.invite(), target)
    again = began + resend
    while True:
        end = began + (RINGS_S if status else give_up_s)
        heard = _heard(link, dialog, min(end, end if status else again))
        now = time.monotonic()
        if heard is None and now >= end:
            _send(link, dialog.request("CANCEL", 1), target)
            return None
        if heard is None:
            _send(link, dialog.invite(), target)
            resend *= 2
            again = now + resend
            continue
        status, to = heard
        if 200 <= status < 300:
            answered = time.time()
            _send(link, dialog.request("ACK", 1, to, dialog.branch + "a"), target)
            _send(link, dialog.request("BYE", 2, to, dialog.branch + "b"), target)
            return answered
        if status >= 300:
            _send(link, dialog.request("ACK", 1, to), target)
            return None


def _send(link: socket.socket, data: bytes, target: tuple[str, int]) -> None:
    try:
        link.sendto(data, target)
    except OSError:
        return  # no way there: the same as silence


def one_call(own: str, called: str, give_up_s: float, routes: list[str], number: int) -> None:
    """On a socket of its own: a call that a failure catches keeps no other from beginning."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((own, 0))
        began, answered, by = time.time(), None, None
        for index, route in enumerate(routes):
            ident = f"{number}-{index}-{time.time_ns()}"
            port: int = link.getsockname()[1]
            dialog = Dialog(own, port, route, called, f"+4917090{number:06}", ident, f"z9hG4bK{ident}")
            answered = tried(link, dialog, give_up_s)
            if answered is not None:
                by = index
                break
    print(json.dumps({"began": began, "answered": answered, "route": by}) + "\n", end="", flush=True)


def main() -> None:
    own, called, give_up, *routes = sys.argv[1:]
    for number in itertools.count():
        threading.Thread(target=one_call, args=(own, called, float(give_up), routes, number), daemon=True).start()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
