"""Asterisk's own queue as a lab server: same release, modules, endpoints and music, Queue() in the dialplan."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from pbx.adapters.asterisk.phones import objects
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount
from tests.lab.asterisk import AsteriskServer
from tests.lab.host import Host
from tests.lab.lab import Lab

EXTENSIONS = """[general]
static=yes
writeprotect=yes
[from-trunk]
exten => _[+0-9]!,1,Answer()
 same => n,Queue(bench)
 same => n,Hangup()
[from-agent]
"""

QUEUES = """[general]
persistentmembers=no
autofill=yes
[bench]
strategy=leastrecent
musicclass=default
timeout={ring_timeout_s}
retry=1
wrapuptime={wrap_up_s}
ringinuse=no
joinempty=yes
leavewhenempty=no
announce-frequency=0
{members}
"""


def start(
    host: Host, lab: Lab, settings: Pop, phones: Iterable[tuple[str, str]], ring_timeout_s: int, wrap_up_s: int
) -> AsteriskServer:
    """A server whose queue has the phones (SIP user, HA1) as members. ARI and the websocket are off: it needs none."""
    phones = list(phones)
    files = dict(render(load_pack(settings.country), settings))
    for name in ("ari.conf", "websocket_client.conf"):
        files[name] = b"[general]\nenabled = no\n"
    modules = files["modules.conf"].decode()
    files["modules.conf"] = (
        re.sub(r"load = (res_ari|res_stasis|res_websocket_client).*\n?", "", modules) + "\nload = app_queue.so\n"
    ).encode()
    accounts = []
    for phone_id, ha1 in phones:
        for kind, fields in objects(PhoneAccount(PhoneId(phone_id), ha1), ("alaw", "ulaw"), 30, False):
            lines = "\n".join(f"{key} = {value}" for key, value in fields.items())
            accounts.append(f"[{phone_id}]\ntype = {kind}\n{lines}\n")
    files["pjsip.conf"] += ("\n" + "\n".join(accounts)).encode()
    files["sorcery.conf"] = b""
    files["extensions.conf"] = EXTENSIONS.encode()
    members = "\n".join(f"member => PJSIP/{phone_id}" for phone_id, _ in phones)
    files["queues.conf"] = QUEUES.format(ring_timeout_s=ring_timeout_s, wrap_up_s=wrap_up_s, members=members).encode()
    return AsteriskServer(host, files, lab)
