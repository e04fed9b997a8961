"""The embedded server's configuration file: who may log in, and what each login may touch.

A POP reads its own bucket in two ways only: it listens to ``$KV.config_<pop>.>`` and asks the *direct get* API of its
own stream for what is stored. It may not create consumers: JetStream delivers a consumer's messages to any subject
its maker names, past the maker's own permissions.
Between POPs, each sends under its own id and hears what is sent to it or to all. The lease of the router of the queues
that span POPs is the one key that every POP may write; what it says is of no weight, only who wrote it last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbx.wire import subjects

CENTRE_USER = "centre"
CENTRE_INBOX = "_INBOX_centre"
MAX_PAYLOAD = 1_048_576


@dataclass(frozen=True, slots=True)
class Login:
    pop_id: str
    nkey: str


def permissions(pop_id: str) -> dict[str, Any]:
    """What a POP's login may do, in the server's own words. Operators of an external cluster need the same."""
    return {
        "publish": {
            "allow": [
                subjects.events(pop_id),
                subjects.heartbeat(pop_id),
                subjects.prompts(pop_id),
                subjects.erased(pop_id),
                subjects.mesh("*", pop_id),
                subjects.ROUTER_LEASE,
                f"$JS.API.DIRECT.GET.KV_{subjects.config_bucket(pop_id)}",
            ]
        },
        "subscribe": {
            "allow": [
                subjects.commands(pop_id),
                f"$KV.{subjects.config_bucket(pop_id)}.>",
                f"{subjects.inbox_prefix(pop_id)}.>",
                subjects.mesh(pop_id, "*"),
                subjects.mesh(subjects.EVERYBODY, "*"),
            ]
        },
        "allow_responses": {"max": 1, "expires": "1m"},
    }


@dataclass(frozen=True, slots=True)
class Listen:
    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None


def render(listen: Listen, store_dir: Path, centre_password: str, logins: list[Login]) -> str:
    """The file's text. It is JSON, which the server's format includes, so that no value can break out of its place.

    ``sync_interval`` always: an acknowledged event survives a power cut, because the POP has let go of it by then.
    """
    config: dict[str, Any] = {
        "server_name": "callplane-centre",
        "host": listen.host,
        "port": listen.port,
        "max_payload": MAX_PAYLOAD,
        "write_deadline": "5s",
        "jetstream": {"store_dir": str(store_dir), "sync_interval": "always"},
        "authorization": {
            "timeout": 3,
            "users": [
                {"user": CENTRE_USER, "password": centre_password},
                *({"nkey": login.nkey, "permissions": permissions(login.pop_id)} for login in logins),
            ],
        },
    }
    if listen.tls_cert is not None:
        config["tls"] = {"cert_file": str(listen.tls_cert), "key_file": str(listen.tls_key)}
    return json.dumps(config, indent=1)
