"""The centre of an installed site, as its admin asks it, and agents and callers over TLS with SRTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.lab.api import Api
from tests.lab.flows import FLOW, QUEUE_FLOW
from tests.lab.host import Host
from tests.lab.hosts.site import SiteOfLab
from tests.lab.phone import Account, Phone

POPS = {"pop1": ("de-ber-1", "+49305550100"), "pop2": ("de-fra-1", "+49695550100")}
"""Machine -> id of its POP, number that is answered there by the queue at once, without menu."""
SPANNING = "+49305550200"
"""At pop1: whoever calls it waits in a queue that spans both POPs."""
QUEUE = {"name": "Support", "skills": {"support": 1}, "ring_timeout_s": 10, "wrap_up_s": 1}
UDP_PORT, TLS_PORT, MESH_PORT = 5060, 5061, 5062
TOKEN = (
    "set -a; . /etc/callplane/centre.env; set +a; "
    "runuser -u callplane -- /opt/callplane/current/venv/bin/callplane centre token create lab"
)


ASTERISK = "asterisk -C /etc/callplane/asterisk/asterisk.conf -rx"
HAS_PHONE = {
    "asterisk": f"{ASTERISK} 'pjsip show endpoint {{0}}' | grep -q media_encryption",
    "freeswitch": "python3 /usr/local/lib/callplane-esl.py user_exists id {0} callplane | grep -qx true",
}
"""Engine -> whether its media server has the account of a phone."""


@dataclass(frozen=True, slots=True)
class Agent:
    agent_id: str
    phone_id: str
    password: str


@dataclass(slots=True)
class Centre:
    site: SiteOfLab
    api: Api
    engine: str = "asterisk"
    """Of its POPs."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, site: SiteOfLab, engine: str = "asterisk") -> AsyncIterator[Centre]:
        """With a token of its own; needs the site to be installed."""
        machine = site.machine("centre1")
        token = machine.run(TOKEN).stdout.splitlines()[-1]
        async with Api.open(f"https://{machine.address}:8443", token, site.ca_dir / "ca.pem") as api:
            yield cls(site, api, engine)

    async def configure(self) -> None:
        """A queue, and for each POP a number that leads to it at once; a queue of both POPs with a number at one."""
        await self.configure_queue(POPS)
        nodes = QUEUE_FLOW["nodes"] | {"wait": QUEUE_FLOW["nodes"]["wait"] | {"queue": "everywhere"}}
        await self.api.post("queues", QUEUE | {"queue_id": "everywhere", "pops": [pop for pop, _ in POPS.values()]})
        await self.api.post("flows", {"flow_id": "spanning", "graph": QUEUE_FLOW | {"nodes": nodes}})
        await self._number(SPANNING, POPS["pop1"][0], "spanning")
        await self._wait_synced(POPS)

    async def configure_queue(self, machines: Iterable[str]) -> None:
        """A queue, and for the POP of each machine a number that leads to it at once."""
        await self.api.post("queues", QUEUE | {"queue_id": "support"})
        await self.api.post("flows", {"flow_id": "main", "graph": FLOW})
        await self.api.post("flows", {"flow_id": "direct", "graph": QUEUE_FLOW})
        for machine in machines:
            pop_id, number = POPS[machine]
            await self._number(number, pop_id, "direct")
        await self._wait_synced(machines)

    async def _number(self, number: str, pop_id: str, flow_id: str) -> None:
        did = {"number": number, "pop_id": pop_id, "flow_id": flow_id, "country": "DE", "language": "de"}
        await self.api.post("dids", did | {"time_zone": "Europe/Berlin", "region": "eu"})

    async def _wait_synced(self, machines: Iterable[str]) -> None:
        for machine in machines:
            await self.api.until(f"pops/{POPS[machine][0]}", _synced, 30)

    async def add_agent(self, machine: str, name: str, **more: Any) -> Agent:
        body = {"name": name.title(), "phone_id": name, "skills": {"support": 3}, "country": "DE", **more}
        created = await self.api.post("agents", body | {"pop_id": POPS[machine][0]})
        await self.provisioned(machine, name)
        return Agent(created["agent_id"], created["phone_id"], created["sip"]["password"])

    async def provisioned(self, machine: str, name: str) -> None:
        """Wait until the media server of ``machine`` has the account of the agent's phone."""
        await self.api.until(f"pops/{POPS[machine][0]}", _synced, 30)
        show = HAS_PHONE[self.engine].format(name)
        pop = self.site.machine(machine)
        until = asyncio.get_running_loop().time() + 20
        while (await asyncio.to_thread(pop.run, show, check=False)).returncode != 0:
            assert asyncio.get_running_loop().time() < until, "the media server has no such account"

    async def available(self, agent: Agent) -> None:
        await self.api.post(f"agents/{agent.agent_id}/status", {"status": "AVAILABLE"})

    @contextlib.asynccontextmanager
    async def phone(
        self,
        machine: str,
        agent: Agent,
        *,
        encryption: Literal["srtp-mand"] | None = "srtp-mand",
        password: str | None = None,
        host: str = "phones",
        answer: Literal["auto", "manual"] = "auto",
    ) -> AsyncIterator[Phone]:
        """The agent's phone over TLS; it sends 600 Hz."""
        server = f"{self.site.machine(machine).address}:{TLS_PORT}"
        account = Account(
            uri=f"sip:{agent.phone_id}@{server}",
            server=server,
            password=password or agent.password,
            answer=answer,
            transport="tls",
            media_encryption=encryption,
            ca_file=self._authority(self.site.hosts[host]),
        )
        async with Phone.start(self.site.hosts[host], agent.phone_id, tone_hz=600, account=account) as phone:
            yield phone

    def _authority(self, host: Host) -> Path:
        """The authority's certificate where a phone of ``host`` sees it."""
        path = host.state_dir / "ca.pem"
        path.write_bytes((self.site.ca_dir / "ca.pem").read_bytes())
        return path

    @contextlib.asynccontextmanager
    async def caller(
        self, machine: str, number: str | None = None, *, name: str = "caller", clear: bool = False
    ) -> AsyncIterator[Phone]:
        """A customer of the carrier who has dialled the POP's number (or another one there) over TLS with SRTP, or in
        the clear; sends 1000 Hz."""
        carrier = self.site.hosts["carrier"]
        account = Account(
            uri=f"sip:+491701234567@{carrier.address}",
            transport="udp" if clear else "tls",
            media_encryption=None if clear else "srtp-mand",
            ca_file=self._authority(carrier),
        )
        async with Phone.start(carrier, name, tone_hz=1000, account=account) as phone:
            target = self.site.machine(machine).address
            where = f"{target}:{UDP_PORT}" if clear else f"{target}:{TLS_PORT};transport=tls"
            await phone.dial(f"sip:{number or POPS[machine][1]}@{where}")
            yield phone


def _synced(pop: dict[str, Any]) -> bool:
    return bool(pop["engine_up"]) and pop["revision_lag"] == 0
