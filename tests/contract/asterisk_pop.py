"""One Asterisk in the lab with the product's own configuration, and the adapter under test connected to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dialplans.schema import Pop, Trunk
from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.domain.commands import OriginateLeg, Prompt, ToPhone
from pbx.domain.e164 import E164, UNKNOWN
from pbx.domain.events import Event, LegAnswered, LegOffered
from pbx.domain.ids import LegId, PhoneId
from pbx.ports.media_engine import EngineSnapshot, PhoneAccount
from tests.lab import audio
from tests.lab.asterisk import AsteriskServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Phone

TEMPLATES = Path(__file__).parents[2] / "dialplans" / "templates" / "asterisk"
PASSWORD = "of-this-test-only"
DID = "+49305550100"
CALLER = "+491701234567"
PROMPT_S = {"short": 0.5, "long": 6.0, "music": 4.0}
PROMPT_HZ = {"short": 700, "long": 900, "music": 500}

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
"""

SomeEvent = TypeVar("SomeEvent", bound=Event)


class Listener:
    """Keeps what the engine says, in its order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ups: list[EngineSnapshot] = []
        self.downs: list[str] = []
        self._news = asyncio.Event()

    def engine_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def engine_up(self, snapshot: EngineSnapshot) -> None:
        self.ups.append(snapshot)
        self._news.set()

    def engine_down(self, reason: str) -> None:
        self.downs.append(reason)
        self._news.set()

    def of(self, kind: type[SomeEvent]) -> list[SomeEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], what: str, deadline_s: float = 10) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {deadline_s} s; came: {self.events}") from None

    async def wait_for(
        self,
        kind: type[SomeEvent],
        where: Callable[[SomeEvent], bool] = lambda _: True,
        deadline_s: float = 10,
        count: int = 1,
    ) -> SomeEvent:
        """The ``count``-th event of a kind."""
        await self.until(lambda: sum(where(e) for e in self.of(kind)) >= count, kind.__name__, deadline_s)
        return [e for e in self.of(kind) if where(e)][count - 1]


class AsteriskPop:
    """The server and what its controller has to know."""

    def __init__(self, lab: Lab, takeover_s: int = 10) -> None:
        self.lab = lab
        self.host: Host = lab.host("pop")
        self.carrier: Host = lab.host("carrier")
        self.phones: Host = lab.host("phones")
        self.prompt_dir = self.host.shm / "prompts"
        self.recording_dir = self.host.shm / "recordings"
        self._make_prompts()
        with socket.create_server((lab.machine_address, 0)) as probe:
            self.ari_port = probe.getsockname()[1]
        self.pop = Pop(
            pop_id="lab-1",
            country="DE",
            sip_address=self.host.address,
            trunks=[Trunk(name="carrier", addresses=[self.carrier.address], host=f"{self.carrier.address}:6000")],
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
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
        )
        pack = SimpleNamespace(media=SimpleNamespace(companding="alaw"))
        files = {
            name.removesuffix(".j2"): environment.get_template(name).render(pop=self.pop, pack=pack).encode()
            for name in environment.list_templates()
            if name.endswith(".j2") and not name.startswith("extensions")
        }
        files["extensions.conf"] = DIALPLAN.replace("LIMIT", str(takeover_s)).encode()
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
    async def controller(self) -> AsyncIterator[tuple[AsteriskEngine, Listener]]:
        """A controller's adapter from its start until it is stopped in order."""
        engine, listener = self.engine(), Listener()
        await engine.start(listener)
        try:
            await listener.until(lambda: bool(listener.ups), "engine_up")
            await listener.until(lambda: engine.recording_possible, "AMI")
            yield engine, listener
        finally:
            await engine.stop()

    def global_variable(self, name: str) -> str:
        for line in self.server.cli("dialplan show globals").splitlines():
            key, _, value = line.strip().partition("=")
            if key == name:
                return value
        return ""


def country_of(number: E164) -> str | None:
    return "DE" if number.startswith("+49") else None


def account(phone_id: str, password: str) -> PhoneAccount:
    ha1 = hashlib.md5(f"{phone_id}:callplane:{password}".encode(), usedforsecurity=False).hexdigest()
    return PhoneAccount(PhoneId(phone_id), ha1, display_name="A phone")


def prompt(name: str) -> Prompt:
    return Prompt(name, "de")


def to_phone(leg_id: str, phone_id: str, peer: LegId, timeout_s: float = 10) -> OriginateLeg:
    return OriginateLeg(
        leg_id=LegId(leg_id), to=ToPhone(PhoneId(phone_id)), cli=UNKNOWN, timeout_s=timeout_s, peer_leg_id=peer
    )


def calling(pop: AsteriskPop, name: str = "caller", tone_hz: int = 440) -> AbstractAsyncContextManager[Phone]:
    """The carrier's caller, not yet dialling."""
    return Phone.start(pop.carrier, name, uri=f"sip:{CALLER}@{pop.carrier.address}", tone_hz=tone_hz)


async def taken(engine: AsteriskEngine, listener: Listener, count: int = 1) -> LegId:
    """The ``count``-th leg offered, answered."""
    offered = await listener.wait_for(LegOffered, count=count)
    await engine.answer(offered.leg_id)
    await listener.wait_for(LegAnswered, lambda e: e.leg_id == offered.leg_id)
    return offered.leg_id
