"""A person's own softphone in the demo: as an agent, and as a caller who comes in as from a carrier."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dialplans.schema import Trunk
from tests.lab.stack import API_PORT, DID, Stack

AGENT = "you"
CUSTOMER = "customer"
RING_S = 20
WRAP_UP_S = 5


def customer_trunk() -> Trunk:
    """An account that registers with a password and whose calls arrive as a carrier's."""
    return Trunk(name=CUSTOMER, username=CUSTOMER, password=secrets.token_urlsafe(12))


def write_curl_config(stack: Stack) -> Path:
    """A file with the API's token, so that it is on no command line; it goes with the stack."""
    path = stack.centre.state_dir / "curl.conf"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'silent\nshow-error\nheader = "Authorization: Bearer {stack.api.token}"\n')
    return path


async def hand_over(stack: Stack) -> None:
    """From here on a person is the agent: time to pick up, and anna only when the person does not."""
    queue = await stack.api.get("queues/support")
    changed = {key: value for key, value in queue.items() if key not in ("queue_id", "created_at")}
    await stack.api.ask("PUT", "queues/support", changed | {"ring_timeout_s": RING_S, "wrap_up_s": WRAP_UP_S})
    await stack.add_agent(AGENT)
    await stack.synced()
    await stack.status(AGENT, "AVAILABLE")
    for name in ("bela", "carla"):
        await stack.status(name, "LOGGED_OUT")
    # AVAILABLE anew: she is idle for a shorter time than the person, whose phone rings first.
    await stack.status("anna", "NOT_READY", "stepping back")
    await stack.status("anna", "AVAILABLE")
    await stack.synced()


def settings(stack: Stack, trunk: Trunk, curl_config: Path) -> str:
    """What to type into a softphone, and where."""
    agent = stack.agents[AGENT]
    address = f"{stack.pop.address}:{stack.settings.sip_port}"
    url = f"http://{stack.centre.address}:{API_PORT}/api/v1"
    status = f"{url}/agents/{agent.agent_id}/status"
    post = f"curl -K {curl_config} -H 'Content-Type: application/json'"
    return f"""
The stack is up. With a softphone on this machine you can be an agent, a caller, or both:

                  the agent              the caller
  registrar       {address:<22} {address}
  user            {agent.phone_id:<22} {trunk.username}
  password        {agent.password:<22} {trunk.password}
  realm           callplane              callplane
  transport       UDP, no encryption, no STUN, no outbound proxy
  codecs          G.711 A-law (PCMA), mu-law (PCMU); digits by RFC 4733

  As the caller dial {DID}: 1 is German, 2 English; then 1; listen to the question for consent to its end
  and press 1 (yes) or 2 (no). As the agent you are AVAILABLE already: your phone rings first when it is
  registered; when you do not pick up within {RING_S} s you are NOT_READY(RONA) and anna, a phone of the lab that
  sends a tone, takes the call.

  REST            {url}
  token           {stack.api.token}
  (also in        {curl_config})
  your status     {post} -d '{{"status": "AVAILABLE"}}' {status}
  not ready       {post} -d '{{"status": "NOT_READY", "reason": "lunch"}}' {status}
  calls           curl -K {curl_config} {url}/calls
  live events     curl -N -K {curl_config} {url}/events

Ctrl-C stops it all and leaves nothing.
"""
