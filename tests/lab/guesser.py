"""Guesses an account's password, one REGISTER after the other as soon as each is answered, and prints how many guesses
were answered before nothing came back any more. A program of its own, to be run on a host of the lab:

    python guesser.py HOST PORT udp|tls ACCOUNT GUESSES ROUND_TRIP_MS

The round trip is that of the network from which it guesses; the lab's own is about 0.1 ms.
"""

import hashlib
import re
import socket
import ssl
import sys
import time
from typing import Any

SILENCE_S = 4.0


def connection(host: str, port: int, transport: str) -> Any:
    if transport == "udp":
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect((host, port))
    else:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # who guesses does not ask who it is
        made = context.wrap_socket(socket.create_connection((host, port), timeout=SILENCE_S))
    made.settimeout(SILENCE_S)
    return made


def request(host: str, transport: str, account: str, number: int, authorization: str, local: str) -> bytes:
    lines = [
        f"REGISTER sip:{host} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {local};branch=z9hG4bK{number};rport",
        f"From: <sip:{account}@{host}>;tag=guess",
        f"To: <sip:{account}@{host}>",
        f"Call-ID: guess@{local}",
        f"CSeq: {number} REGISTER",
        f"Contact: <sip:{account}@{local}>",
        "Max-Forwards: 70",
        *([authorization] if authorization else []),
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what the digest of SIP is made of


def answer_to(challenge: str, host: str, account: str, password: str) -> str:
    """A digest without qop (RFC 2617, 3.2.2), which servers still take."""
    realm, nonce = (re.search(rf'{name}="([^"]*)"', challenge) for name in ("realm", "nonce"))
    assert realm is not None
    assert nonce is not None
    one, two = md5(f"{account}:{realm[1]}:{password}"), md5(f"REGISTER:sip:{host}")
    return (
        f'Authorization: Digest username="{account}", realm="{realm[1]}", nonce="{nonce[1]}", uri="sip:{host}",'
        f' response="{md5(f"{one}:{nonce[1]}:{two}")}", algorithm=MD5'
    )


def guess(host: str, port: int, transport: str, account: str, most: int, round_trip_s: float) -> int:
    made = connection(host, port, transport)
    address, own_port = made.getsockname()[:2]
    local, authorization, guesses, number = f"{address}:{own_port}", "", 0, 0
    while guesses < most:
        number += 1
        time.sleep(round_trip_s)
        try:
            made.sendall(request(host, transport, account, number, authorization, local))
            reply = made.recv(65536).decode(errors="replace")
            while reply.startswith("SIP/2.0 100"):
                reply = made.recv(65536).decode(errors="replace")
        except OSError:  # nothing comes back, or the connection is gone
            break
        if authorization:
            guesses += 1
        challenge = re.search(r"(?im)^WWW-Authenticate: .*$", reply)
        authorization = "" if challenge is None else answer_to(challenge[0], host, account, f"wrong-{number}")
    return guesses


if __name__ == "__main__":
    to_host, to_port, over, of_account, at_most, round_trip_ms = sys.argv[1:]
    answered = guess(to_host, int(to_port), over, of_account, int(at_most), float(round_trip_ms) / 1000)
    sys.stdout.write(f"{answered}\n")
