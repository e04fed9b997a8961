"""One Asterisk in the lab with the product's own configuration, and the adapter under test connected to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.domain.e164 import E164
from tests.contract.backend import HERE, Controller
from tests.contract.far_end import PROMPT_HZ, PROMPT_S
from tests.contract.listener import Listener
from tests.contract.sip_far_ends import CALLEE_PORT, LabBackend
from tests.lab import audio
from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import Lab
from tests.support.ports import free_port

PASSWORD = "of-this-test-only"

DIALPLAN = """
[general]
static=yes
clearglobalvars=no

[from-trunk]
exten => _+X!,1,GotoIf($[0${GLOBAL(CALLPLANE_LEASE)} < ${EPOCH}]?fallback,s,1)
 same => n,Set(TIMEOUT(absolute)=LIMIT)
 same => n,Stasis(callplane,${EXTEN},${CALLERID(num)},${CALLPLANE_TRUNK})
 same => n,GotoIf($["${STASISSTATUS}" = "FAILED"]?fallback,s,1)
 same => n,Hangup()
exten => T,1,Goto(fallback,s,1)
exten => bad,1,Stasis(callplane,not-a-number,${CALLERID(num)},${CALLPLANE_TRUNK})
 same => n,Hangup()

[fallback]
exten => s,1,Set(TIMEOUT(absolute)=0)
 same => n,Set(GLOBAL(FALLBACKS)=${MATH(0${GLOBAL(FALLBACKS)}+1,i)})
 same => n,Hangup(42)

[from-agent]
exten => _X!,1,Hangup(1)
exten => _+X!,1,Stasis(callplane,dialled,${EXTEN},+49305550100,carrier,${CHANNEL(endpoint)})
 same => n,Hangup()
exten => _*X!,1,Stasis(callplane,feature,${EXTEN},${CHANNEL(endpoint)})
 same => n,Hangup()
"""


RENDERED = ("from-pop", "from-pop-tls", "callplane-self")
"""Contexts that are as the product renders them."""


def _context(dialplan: str, name: str) -> str:
    _, begin, rest = dialplan.partition(f"[{name}]")
    return begin + rest.partition("\n[")[0] + "\n"


class AsteriskPop(LabBackend):
    """The server and what its controller has to know."""

    name = "asterisk"

    def __init__(self, lab: Lab, takeover_s: int = 10) -> None:
        super().__init__(lab, "pop")
        self.prompt_dir = self.host.shm / "prompts"
        self.recording_dir = self.host.shm / "recordings"
        self._make_prompts()
        self.ari_port = free_port(lab.machine_address)
        self.pop = Pop(
            pop_id=HERE,
            country="DE",
            sip_address=self.host.address,
            trunks=[
                Trunk(name="carrier", addresses=[self.carrier.address], host=f"{self.carrier.address}:{CALLEE_PORT}")
            ],
            mesh=[self.mesh],
            tls_dir=str(self.host.state_dir / "tls"),
            controller_host=lab.machine_address,
            controller_ari_port=self.ari_port,
            ari_password=PASSWORD,
            ami_password=PASSWORD,
            prompt_dir=str(self.prompt_dir),
            recording_dir=str(self.recording_dir),
        )
        self.server = AsteriskServer(self.host, self.files(takeover_s), lab)

    def _make_prompts(self) -> None:
        for name, seconds in PROMPT_S.items():
            directory = self.prompt_dir / ("music/default" if name == "music" else "de")
            directory.mkdir(parents=True, exist_ok=True)
            samples = audio.tone(PROMPT_HZ[name], seconds)
            (directory / f"{name}.sln").write_bytes(audio.to_pcm16(samples))
        self.recording_dir.mkdir(parents=True, exist_ok=True)
        for path in (self.recording_dir, self.prompt_dir):
            path.chmod(0o777)

    def files(self, takeover_s: int = 10) -> dict[str, bytes]:
        files = dict(render(load_pack("DE"), self.pop))
        own = files["extensions.conf"].decode()
        parts = [DIALPLAN.replace("LIMIT", str(takeover_s)), *(_context(own, name) for name in RENDERED)]
        files["extensions.conf"] = "\n".join(parts).encode()
        # The controller of a test runs on the machine, not on the host of the media server.
        files["manager.conf"] = (
            files["manager.conf"]
            .replace(b"bindaddr = 127.0.0.1", b"bindaddr = 0.0.0.0")
            .replace(b"permit = 127.0.0.1/255.255.255.255", f"permit = {self.lab.machine_address}/32".encode())
        )
        files["modules.conf"] += b"load = func_math.so\n"
        return files

    def engine(self, password: str = PASSWORD, **options: object) -> AsteriskEngine:
        return AsteriskEngine(
            ari_host=self.lab.machine_address,
            ari_port=self.ari_port,
            ari_user=self.pop.ari_user,
            ari_password=password,
            ami_host=self.host.address,
            ami_port=self.pop.ami_port,
            ami_user=self.pop.ami_user,
            ami_password=PASSWORD,
            prompt_dir=self.prompt_dir,
            country_of=country_of,
            **options,  # type: ignore[arg-type]
        )

    @contextlib.asynccontextmanager
    async def controller(self) -> AsyncIterator[Controller]:
        engine, listener = self.engine(), Listener()
        await engine.start(listener)
        try:
            await listener.until(lambda: bool(listener.ups), "engine_up")
            # No event tells of the second connection.
            await asyncio.to_thread(wait_until, lambda: engine.recording_possible, 10, "AMI")
            yield Controller(engine, listener)
        finally:
            await engine.stop()

    async def crash(self, controller: Controller) -> None:
        assert isinstance(controller.engine, AsteriskEngine)
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

    def global_variable(self, name: str) -> str:
        for line in self.server.cli("dialplan show globals").splitlines():
            key, _, value = line.strip().partition("=")
            if key == name:
                return value
        return ""


def country_of(number: E164) -> str | None:
    return "DE" if number.startswith("+49") else None
