"""Asterisk's own queue as a lab server: same release, modules, endpoints and music, Queue() in the dialplan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from pbx.adapters.asterisk.phones import USUAL_PHONES, objects
from pbx.ports.media_engine import PhoneAccount
from tests.bench.queued import RING_TIMEOUT_S, WRAP_UP_S
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


def start(host: Host, lab: Lab, settings: Pop, phones: Iterable[PhoneAccount]) -> AsteriskServer:
    """A server whose queue has the phones as members. ARI and the websocket are off: it needs none."""
    host.bind(Path(settings.prompt_dir))
    phones = list(phones)
    files = dict(render(load_pack(settings.country), settings))
    for name in ("ari.conf", "websocket_client.conf"):
        files[name] = b"[general]\nenabled = no\n"
    modules = files["modules.conf"].decode()
    files["modules.conf"] = (
        re.sub(r"load = (res_ari|res_stasis|res_websocket_client).*\n?", "", modules) + "\nload = app_queue.so\n"
    ).encode()
    accounts = []
    for phone in phones:
        for kind, fields in objects(phone, replace(USUAL_PHONES, nat=False)):
            lines = "\n".join(f"{key} = {value}" for key, value in fields.items())
            accounts.append(f"[{phone.phone_id}]\ntype = {kind}\n{lines}\n")
    files["pjsip.conf"] += ("\n" + "\n".join(accounts)).encode()
    files["sorcery.conf"] = b""
    files["extensions.conf"] = EXTENSIONS.encode()
    members = "\n".join(f"member => PJSIP/{phone.phone_id}" for phone in phones)
    files["queues.conf"] = QUEUES.format(ring_timeout_s=RING_TIMEOUT_S, wrap_up_s=WRAP_UP_S, members=members).encode()
    return AsteriskServer(host, files, lab)
