"""A second POP beside a stack's: media server, controller and phones of its own, the same centre and carrier."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dialplans import prompts
from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Engine, Pop, Trunk
from tests.lab.authority import Authority
from tests.lab.errors import LabError, log_tail
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.media_server import START, MediaServer
from tests.lab.phone import Phone
from tests.lab.process import Process
from tests.lab.programs import POP_ID, pop_settings, start_controller, uploaded_prompts
from tests.lab.stack import Agent, Stack

SECOND_ID = "de-ber-2"
QUEUE = {"name": "Support", "skills": {"support": 1}, "ring_timeout_s": 5, "wrap_up_s": 1, "announce_every_s": 10}


AUTHORITY = Authority()
"""Of the site."""


def between(name: str, other: Host) -> Trunk:
    """The trunk to the POP on another host."""
    return Trunk(name=name, addresses=[other.address], host=other.address, transport="tls")


def certified(settings: Pop) -> Pop:
    """The POP with a certificate of the site's authority, for the trunks to other POPs."""
    directory = Path(settings.phone_dir).parent / "tls"
    AUTHORITY.certify(directory, settings.sip_address)
    return settings.model_copy(update={"tls_dir": str(directory)})


@dataclass(slots=True)
class SecondPop:
    """``async with two_pops(lab) as (stack, second)``."""

    stack: Stack
    host: Host
    phones: Host
    settings: Pop
    server: MediaServer
    key: str
    controller: Process
    agents: dict[str, Agent] = field(default_factory=dict)

    @classmethod
    async def start(cls, stack: Stack, host: Host, phones: Host, engine: Engine) -> Self:
        created = await stack.api.post("pops", {"pop_id": SECOND_ID, "name": "Berlin 2", "country": "DE"})
        mesh = [between(POP_ID, stack.pop)]
        settings = certified(pop_settings(host, stack.carrier, engine=engine))
        settings = settings.model_copy(update={"pop_id": SECOND_ID, "mesh": mesh})
        for directory in (Path(settings.recording_dir), Path(settings.phone_dir), uploaded_prompts(host)):
            directory.mkdir(exist_ok=True)
        host.bind(prompts.default_dir())
        server = START[engine](host, render(load_pack("DE"), settings), stack.lab)
        if engine == "asterisk" and stack.lab.asterisk is None:
            host.run(["chown", "asterisk:asterisk", settings.recording_dir])
        controller = start_controller(host, stack.centre, settings, created["key"])
        await stack.api.ask("PUT", "queues/support", {**QUEUE, "pops": [POP_ID, SECOND_ID]})
        second = cls(stack, host, phones, settings, server, created["key"], controller)
        await stack.synced()
        await second.synced()
        return second

    async def synced(self) -> None:
        def ready(pop: dict[str, Any]) -> bool:
            return bool(pop["engine_up"]) and pop["revision_lag"] == 0 and pop["phones_pending"] == 0

        await self.stack.api.until(f"pops/{SECOND_ID}", ready, 60)

    async def backs_up(self) -> None:
        """It is the first POP's backup: it has its numbers and agents, too."""
        former = await self.stack.api.get(f"pops/{POP_ID}")
        change = {name: former[name] for name in ("name", "country", "region")} | {"backup_pop_id": SECOND_ID}
        await self.stack.api.ask("PUT", f"pops/{POP_ID}", change)
        await self.stack.synced()
        await self.synced()

    @contextlib.asynccontextmanager
    async def agent(self, name: str, tone_hz: int = 600, auto: bool = True) -> AsyncIterator[Phone]:
        """An agent of this POP, AVAILABLE, with a registered phone that sends a tone."""
        body = {"name": name, "phone_id": name, "skills": {"support": 3}, "country": "DE", "pop_id": SECOND_ID}
        made = await self.stack.api.post("agents", body)
        agent = self.agents[name] = Agent(made["agent_id"], made["phone_id"], made["sip"]["password"], name)
        await self.synced()
        server = f"{self.host.address}:{self.settings.sip_port}"
        async with Phone.start(
            self.phones,
            agent.phone_id,
            tone_hz=tone_hz,
            server=server,
            password=agent.password,
            answer="auto" if auto else "manual",
        ) as phone:
            await phone.wait_registered()
            await self.stack.api.post(f"agents/{agent.agent_id}/status", {"status": "AVAILABLE"})
            yield phone

    @property
    def pop(self) -> Host:
        return self.host

    def restart_controller(self) -> None:
        if self.controller.poll() is None:
            self.controller.stop()
        self.controller = start_controller(self.host, self.stack.centre, self.settings, self.key)

    def logs(self) -> str:
        return log_tail(self.controller.log_path) + self.server.logs()

    def stop(self) -> None:
        if self.controller.poll() is None:
            self.controller.stop()
        if self.server.process.poll() is None:
            self.server.stop()


@contextlib.asynccontextmanager
async def two_pops(
    lab: Lab,
    flow: dict[str, Any] | None = None,
    engines: tuple[Engine, Engine] = ("asterisk", "asterisk"),
    **more: Any,
) -> AsyncIterator[tuple[Stack, SecondPop]]:
    """``engines``: the media servers of the first and of the second POP. ``more``: of the stack."""
    prefix = lab.prefix()
    host, phones = lab.host(f"{prefix}pop2"), lab.host(f"{prefix}phones2")
    mesh = [between(SECOND_ID, host)]
    adapted = lambda settings, _: certified(settings)  # noqa: E731
    async with Stack.start(lab, flow=flow, mesh=mesh, adapted=adapted, engine=engines[0], **more) as stack:
        second = await SecondPop.start(stack, host, phones, engines[1])
        try:
            yield stack, second
        except LabError as error:
            raise LabError(f"{error}\n{stack.logs()}\n{second.logs()}") from error
        finally:
            second.stop()
