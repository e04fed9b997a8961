"""One FreeSWITCH in the lab with the product's own configuration, and the adapter under test connected to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import soundfile

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from pbx.adapters.freeswitch.engine import FreeSwitchEngine
from pbx.domain.e164 import E164
from tests.contract.backend import HERE, Controller
from tests.contract.far_end import PROMPT_HZ, PROMPT_S
from tests.contract.listener import Listener
from tests.contract.sip_far_ends import CALLEE_PORT, LabBackend
from tests.lab import audio
from tests.lab.errors import LabError
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.lab import Lab

PASSWORD = "of-this-test-only"


class FreeSwitchPop(LabBackend):
    """The server and what its controller has to know."""

    name = "freeswitch"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, "fs-contract")
        self.prompt_dir = self.host.shm / "prompts"
        self.recording_dir = self.host.shm / "recordings"
        self.phone_dir = self.host.shm / "phones"
        for directory in (self.recording_dir, self.phone_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._make_prompts()
        self.pop = Pop(
            pop_id=HERE,
            engine="freeswitch",
            country="DE",
            sip_address=self.host.address,
            trunks=[
                Trunk(name="carrier", addresses=[self.carrier.address], host=f"{self.carrier.address}:{CALLEE_PORT}")
            ],
            mesh=[self.mesh],
            tls_dir=str(self.host.state_dir / "tls"),
            esl_host=self.host.address,
            esl_password=PASSWORD,
            esl_networks=[lab.machine_address, self.host.address],
            phone_dir=str(self.phone_dir),
            prompt_dir=str(self.prompt_dir),
            recording_dir=str(self.recording_dir),
        )
        self.server = FreeSwitchServer(self.host, render(load_pack("DE"), self.pop), lab)

    def _make_prompts(self) -> None:
        for name, seconds in PROMPT_S.items():
            directory = self.prompt_dir / ("music/default" if name == "music" else "de")
            directory.mkdir(parents=True, exist_ok=True)
            samples = audio.tone(PROMPT_HZ[name], seconds)
            soundfile.write(directory / f"{name}.alaw", samples, 8000, format="RAW", subtype="ALAW")

    def engine(self, **options: object) -> FreeSwitchEngine:
        settings: dict[str, object] = {
            "esl_host": self.pop.esl_host,
            "esl_port": self.pop.esl_port,
            "esl_password": PASSWORD,
            "prompt_dir": self.prompt_dir,
            "phone_dir": self.phone_dir,
            "country_of": country_of,
        }
        return FreeSwitchEngine(**(settings | options))  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def controller(self) -> AsyncIterator[Controller]:
        engine, listener = self.engine(), Listener()
        await engine.start(listener)
        try:
            await listener.until(lambda: bool(listener.ups), "engine_up")
            yield Controller(engine, listener)
        finally:
            await engine.stop()

    async def crash(self, controller: Controller) -> None:
        assert isinstance(controller.engine, FreeSwitchEngine)
        controller.engine.cut()
        await controller.engine.stop()

    async def restart_server(self, controller: Controller) -> None:
        listener, downs = controller.listener, len(controller.listener.downs)
        await asyncio.to_thread(self.server.kill)
        await listener.until(lambda: len(listener.downs) > downs, "engine_down")
        await asyncio.to_thread(self.server.start)

    async def leak_check(self) -> None:
        try:
            await asyncio.to_thread(self.server.wait_idle)
        except LabError:
            # What one test left must not fail the next.
            await asyncio.to_thread(self.server.restart)
            raise


def country_of(number: E164) -> str | None:
    return "DE" if number.startswith("+49") else None
