"""The programs of a stack: how the centre and a POP's controller are started on lab hosts, and with what settings."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dialplans import prompts
from dialplans.schema import Engine, Pop, Trunk
from pbx.recording import region_keys
from tests.lab.host import Host
from tests.lab.lab import ROOT
from tests.lab.process import Process

POP_ID = "de-ber-1"
OVERFLOW = "+49305550999"
API_PORT = 8080
BUS_PORT = 4222
METRICS_PORT = 9464
CRM_PORT = 8090
"""Of an HTTP service on the centre's host that flows may ask."""


def first_token(orchestrator: Process) -> str | None:
    """The admin token that a centre's first start prints; None as long as it has not."""
    orchestrator.require_running()
    found = re.search(r"admin token \(shown only this once\): (\S+)", orchestrator.log_text())
    return found[1] if found else None


def start_centre(centre: Host, more: Mapping[str, str]) -> Process:
    """``more``: settings besides those of every laboratory."""
    env = {
        "CALLPLANE_CENTRE_STATE_DIR": str(centre.state_dir / "centre"),
        "CALLPLANE_CENTRE_API_HOST": centre.address,
        "CALLPLANE_CENTRE_API_PORT": str(API_PORT),
        "CALLPLANE_CENTRE_ALLOW_PLAIN_HTTP": "true",
        "CALLPLANE_CENTRE_BUS_HOST": centre.address,
        "CALLPLANE_CENTRE_BUS_PORT": str(BUS_PORT),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
    return centre.spawn([sys.executable, "-m", "orchestrator", "run"], name="centre", env=env, cwd=ROOT)


def pop_settings(pop: Host, carrier: Host, more_trunks: Sequence[Trunk] = (), engine: Engine = "asterisk") -> Pop:
    return Pop(
        pop_id=POP_ID,
        engine=engine,
        country="DE",
        area_code="30",
        sip_address=pop.address,
        trunks=[Trunk(name="carrier", addresses=[carrier.address], host=f"{carrier.address}:5060"), *more_trunks],
        overflow_number=OVERFLOW,
        ari_password=secrets.token_urlsafe(24),
        ami_password=secrets.token_urlsafe(24),
        esl_password=secrets.token_urlsafe(24),
        phone_dir=str(pop.shm / "phones"),
        prompt_dir=str(prompts.default_dir()),
        recording_dir=str(pop.shm / "recordings"),
    )


def start_controller(
    pop: Host, centre: Host | None, settings: Pop, key: str, more: Mapping[str, str] = MappingProxyType({})
) -> Process:
    env = {
        "CALLPLANE_POP_ID": settings.pop_id,
        "CALLPLANE_POP_COUNTRY": settings.country,
        "CALLPLANE_POP_STATE_DIR": str(pop.state_dir / "controller"),
        "CALLPLANE_POP_PROMPT_DIR": settings.prompt_dir,
        "CALLPLANE_POP_UPLOADED_PROMPT_DIR": str(uploaded_prompts(pop)),
        "CALLPLANE_POP_RECORDING_DIR": settings.recording_dir,
        "CALLPLANE_POP_ENGINE": settings.engine,
        "CALLPLANE_POP_ESL_PASSWORD": settings.esl_password,
        "CALLPLANE_POP_PHONE_DIR": settings.phone_dir,
        "CALLPLANE_POP_ARI_PASSWORD": settings.ari_password,
        "CALLPLANE_POP_AMI_PASSWORD": settings.ami_password,
        # sipp registers from another port than the one on which its agents answer.
        "CALLPLANE_POP_PHONES_BEHIND_NAT": "false",
        "CALLPLANE_POP_KEYED_CODES": "true",
        # Tests run at any hour.
        "CALLPLANE_POP_CALLBACK_HOURS": "00:00-24:00",
        # Only tests that are about it: others count legs and files.
        "CALLPLANE_POP_SELF_CALL_S": "0",
        "PYTHONUNBUFFERED": "1",
    }
    if centre is not None:
        env |= {"CALLPLANE_POP_BUS_URL": f"nats://{centre.address}:{BUS_PORT}", "CALLPLANE_POP_KEY": key}
        env["CALLPLANE_POP_LOOKUP_ORIGINS"] = json.dumps([f"http://{centre.address}:{CRM_PORT}"])
    make_vault_key(pop)
    env |= more
    return pop.spawn([sys.executable, "-m", "pbx", "run"], name="controller", env=env, cwd=ROOT)


def make_vault_key(pop: Host) -> None:
    """As whoever provisions a POP does once."""
    path = pop.state_dir / "controller" / "vault.keys"
    if not path.exists():
        region_keys.add(path, "eu")


def uploaded_prompts(pop: Host) -> Path:
    return pop.shm / "prompts"
