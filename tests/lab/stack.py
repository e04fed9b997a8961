"""The whole product on lab hosts: a centre, a POP with its media server and controller, a carrier, agents' phones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from dialplans import prompts
from dialplans.pack import load_pack
from dialplans.render import ALONE_DB, ALONE_LOG, render
from dialplans.schema import Engine, Pop, Trunk
from tests.lab.api import Api, ApiProblem
from tests.lab.clock import HostClock
from tests.lab.errors import LabError, log_tail, wait_until
from tests.lab.flows import FLOW
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.media_server import START, MediaServer
from tests.lab.phone import Phone
from tests.lab.postgres import PostgresServer
from tests.lab.process import Process
from tests.lab.programs import API_PORT as API_PORT
from tests.lab.programs import CRM_PORT as CRM_PORT
from tests.lab.programs import METRICS_PORT as METRICS_PORT
from tests.lab.programs import OVERFLOW as OVERFLOW
from tests.lab.programs import POP_ID as POP_ID
from tests.lab.programs import first_token, start_centre, start_controller, uploaded_prompts
from tests.lab.programs import pop_settings as pop_settings
from tests.lab.sipp import LIMIT_S, Sipp

DID = "+49305550100"


@dataclass(slots=True)
class Agent:
    agent_id: str
    phone_id: str
    password: str
    name: str


@dataclass(frozen=True, slots=True)
class Watched:
    """How centre and controller are watched: metrics on ``METRICS_PORT`` of their hosts, which are the lab's alone; the
    log as JSON with all that it can say; traces to ``traces_port`` of the centre's host."""

    metrics: bool = False
    json_log: bool = False
    traces_port: int | None = None

    def settings(self, program: str, host: Host, centre: Host) -> dict[str, str]:
        prefix = f"CALLPLANE_{program}_"
        found: dict[str, str] = {}
        if self.metrics:
            found |= {f"{prefix}METRICS_HOST": host.address, f"{prefix}METRICS_PORT": str(METRICS_PORT)}
        if self.json_log:
            found |= {f"{prefix}LOG_FORMAT": "json", f"{prefix}LOG_LEVEL": "DEBUG"}
        if self.traces_port is not None:
            found[f"{prefix}TRACES_URL"] = f"http://{centre.address}:{self.traces_port}/v1/traces"
        return found


@dataclass(slots=True)
class Stack:
    """``async with Stack.start(lab) as stack``."""

    lab: Lab
    pop: Host
    centre: Host
    carrier: Host
    phones: Host
    settings: Pop
    server: MediaServer
    api: Api
    pop_key: str
    controller: Process
    orchestrator: Process
    postgres: PostgresServer | None
    controller_env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the controller besides the usual ones."""
    agents: dict[str, Agent] = field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        lab: Lab,
        flow: dict[str, Any] | None = None,
        queue: dict[str, Any] | None = None,
        more_trunks: Sequence[Trunk] = (),
        starting: Callable[[str], None] = lambda part: None,
        engine: Engine = "asterisk",
        postgres: bool = False,
        watched: Watched | None = None,
        small_disk: str = "",
        more_env: Mapping[str, str] = MappingProxyType({}),
        adapted: Callable[[Pop, Host], Pop] = lambda settings, carrier: settings,
        mesh: Sequence[Trunk] = (),
        own_clock: bool = False,
    ) -> AsyncIterator[Self]:
        """Start all of it with one DID, one queue, one flow, on hosts that no other stack of the lab has.
        ``starting`` is told which part is being started; ``engine`` is the POP's media server; with ``postgres`` the
        centre's database is a PostgreSQL on its host, else SQLite. ``watched``: centre and controller are.
        ``small_disk``: size of a file system of its own for recordings under way (``4m``). ``more_env``: settings of
        the controller. ``adapted``: what the POP is rendered from, given the carrier's host. ``mesh``: trunks to other
        POPs. ``own_clock``: the POP's host has a clock that can be stepped (``pop.clock``)."""
        prompt_dir = prompts.default_dir()
        if not (prompt_dir / "manifest.json").exists():
            raise LabError("there are no voice prompts yet; make them with: make prompts")
        starting("hosts")
        prefix = lab.prefix()
        hosts = [lab.host(f"{prefix}{name}") for name in ("centre", "pop", "carrier", "phones")]
        centre, pop, carrier, phones = hosts
        if own_clock:
            HostClock.of(pop)
        starting("centre")
        watched = watched or Watched()
        database = PostgresServer(centre) if postgres else None
        orchestrator = start_centre(centre, {**_of_centre(database), **watched.settings("CENTRE", centre, centre)})
        token = wait_until(lambda: first_token(orchestrator), 60, "the centre's token", orchestrator.log_text)
        async with Api.open(f"http://{centre.address}:{API_PORT}", token) as api:
            await api.wait_up()
            created = await api.post("pops", {"pop_id": POP_ID, "name": "Berlin 1", "country": "DE"})
            settings = adapted(pop_settings(pop, carrier, more_trunks, engine), carrier)
            settings = settings.model_copy(update={"mesh": list(mesh)})
            recordings = pop.shm / "recordings"
            if small_disk:
                recordings = pop.state_dir / "small"
                settings = settings.model_copy(update={"recording_dir": str(recordings)})
                mounted = ["mount", "-t", "tmpfs", "-o", f"size={small_disk},mode=755", "small", str(recordings)]
                recordings.mkdir()
                pop.run(mounted, rootfs=False)
            for directory in (recordings, Path(settings.phone_dir), uploaded_prompts(pop)):
                directory.mkdir(exist_ok=True)
            pop.bind(prompt_dir)
            starting("media server")
            server = START[engine](pop, render(load_pack("DE"), settings), lab)
            if engine == "asterisk" and lab.asterisk is None:
                pop.run(["chown", "asterisk:asterisk", recordings])
            starting("controller")
            key = created["key"]
            env = {**watched.settings("POP", pop, centre), **more_env}
            controller = start_controller(pop, centre, settings, key, env)
            stack = cls(
                lab, pop, centre, carrier, phones, settings, server, api, key, controller, orchestrator, database, env
            )
            try:
                starting("configuration")
                await stack.configure(flow or FLOW, queue or {})
                yield stack
            finally:
                stack.stop()

    async def configure(self, flow: dict[str, Any], queue: dict[str, Any]) -> None:
        settings = {
            "queue_id": "support",
            "name": "Support",
            "skills": {"support": 1},
            "ring_timeout_s": 5,
            "wrap_up_s": 1,
            "announce_every_s": 10,
        }
        await self.api.post("queues", settings | queue)
        await self.api.post("flows", {"flow_id": "main", "graph": flow})
        did = {
            "number": DID,
            "pop_id": POP_ID,
            "flow_id": "main",
            "country": "DE",
            "language": "de",
            "time_zone": "Europe/Berlin",
            "region": "eu",
        }
        await self.api.post("dids", did)
        await self.synced()

    async def synced(self, deadline_s: float = 60, news: bool = False) -> None:
        """Wait until the POP runs the configuration the centre has, with its media server connected and in possession
        of the agents' accounts: from then on a phone may register. ``news``: what it said before now does not count."""
        since = time.time() if news else 0.0

        def ready(pop: dict[str, Any]) -> bool:
            return _is_synced(pop) and datetime.fromisoformat(pop["last_seen_at"]).timestamp() > since

        await self.api.until(f"pops/{POP_ID}", ready, deadline_s)

    def stop(self) -> None:
        for process in (self.controller, self.orchestrator):
            if process.poll() is None:
                process.stop()
        if self.server.process.poll() is None:
            self.server.stop()
        if self.postgres is not None:
            self.postgres.stop()

    # --- parts that are killed and started again --------------------------------------------------------------------

    def restart_controller(self) -> None:
        if self.controller.poll() is None:
            self.controller.stop()
        self.controller = start_controller(self.pop, self.centre, self.settings, self.pop_key, self.controller_env)

    def restart_centre(self) -> None:
        """With the former one's state directory and database; it may still be starting when this returns."""
        if self.orchestrator.poll() is None:
            self.orchestrator.stop()
        self.orchestrator = start_centre(self.centre, _of_centre(self.postgres))

    # --- agents and callers -----------------------------------------------------------------------------------------

    async def add_agent(
        self,
        name: str,
        skills: dict[str, int] | None = None,
        country: str = "DE",
        extension: str | None = None,
        site: str | None = None,
        phone_class: str | None = None,
    ) -> Agent:
        """Who has an extension may supervise by feature code, too."""
        body = {
            "name": name.title(),
            "phone_id": name,
            "skills": skills or {"support": 3},
            "country": country,
            "pop_id": POP_ID,
            "extension": extension,
            "supervises": extension is not None,
            "site": site,
            "phone_class": phone_class,
        }
        created = await self.api.post("agents", body)
        agent = Agent(created["agent_id"], created["phone_id"], created["sip"]["password"], name)
        self.agents[name] = agent
        return agent

    @contextlib.asynccontextmanager
    async def agent(
        self,
        name: str,
        tone_hz: int = 600,
        auto: bool = True,
        available: bool = True,
        reuse: bool = False,
        extension: str | None = None,
        site: str | None = None,
    ) -> AsyncIterator[Phone]:
        """An agent with a registered phone that sends a tone; AVAILABLE unless told otherwise."""
        agent = self.agents[name] if reuse else await self.add_agent(name, extension=extension, site=site)
        await self.synced()
        server = f"{self.pop.address}:{self.settings.sip_port}"
        async with Phone.start(
            self.phones,
            agent.phone_id,
            tone_hz=tone_hz,
            server=server,
            password=agent.password,
            answer="auto" if auto else "manual",
        ) as phone:
            await phone.wait_registered()
            if available:
                await self.status(name, "AVAILABLE")
            yield phone

    @contextlib.asynccontextmanager
    async def sipp_agents(
        self,
        count: int,
        *,
        ring_ms: int = 200,
        talk_ms: int | None = 2000,
        wait_s: float = 60,
        sound_ms: int = 0,
        limit_s: int = LIMIT_S,
    ) -> AsyncIterator[Sipp]:
        """``count`` agents on one sipp, registered and AVAILABLE, for ``limit_s`` at most."""
        limit = asyncio.Semaphore(16)

        async def one(job: Coroutine[Any, Any, Any]) -> None:
            async with limit:
                await job

        names = [f"sipp{number:04}" for number in range(count)]
        await asyncio.gather(*(one(self.add_agent(name)) for name in names))
        await self.synced(wait_s)
        target = f"{self.pop.address}"
        phones = Sipp.agents(self.phones, ring_ms=ring_ms, talk_ms=talk_ms, sound_ms=sound_ms, limit_s=limit_s)
        with phones as answering:
            users = {name: self.agents[name].password for name in names}
            register = Sipp.register(self.phones, target, users, contact_port=answering.port)
            (await asyncio.to_thread(register.finish, wait_s)).require_success(count)
            await asyncio.gather(*(one(self.status(name, "AVAILABLE")) for name in names))
            yield answering

    async def status(self, name: str, status: str, reason: str | None = None) -> None:
        body = {"status": status} | ({"reason": reason} if reason else {})
        await self.api.post(f"agents/{self.agents[name].agent_id}/status", body)

    @contextlib.asynccontextmanager
    async def caller(
        self, name: str = "caller", cli: str = "+491701234567", called: str = DID, tone_hz: int = 1000
    ) -> AsyncIterator[Phone]:
        """A carrier's customer who has dialled ``called``; the call may not be answered yet."""
        uri = f"sip:{cli}@{self.carrier.address}"
        async with Phone.start(self.carrier, name, tone_hz=tone_hz, uri=uri) as phone:
            await phone.dial(f"sip:{called}@{self.pop.address}:{self.settings.sip_port}")
            yield phone

    async def event(
        self, kind: str, count: int = 1, deadline_s: float = 20, after: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """Wait until the POP's journal holds, after seq ``after``, ``count`` events of ``kind`` with these fields; the
        last of them."""
        end = time.monotonic() + deadline_s
        while True:
            later = self.journal("kind = ? AND seq > ?", kind, after)
            found = [e for e in later if all(e.get(k) == v for k, v in fields.items())]
            if len(found) >= count:
                return found[count - 1]
            if time.monotonic() > end:
                seen = ", ".join(e["kind"] for e in self.journal())
                raise LabError(
                    f"no {kind} with {fields} within {deadline_s:g} s; the journal has {seen}\n{self.logs()}"
                )
            await asyncio.sleep(0.02)

    def journal(self, where: str = "true", *values: object) -> list[dict[str, Any]]:
        """Every event in the POP's journal, read from its file as any other program could."""
        path = self.pop.state_dir / "controller" / "journal.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            found = f"SELECT seq, call_id, kind, data FROM events WHERE {where} ORDER BY seq"  # noqa: S608
            rows = db.execute(found, values).fetchall()
        return [{"seq": seq, "call_id": call, "kind": kind, **json.loads(data)} for seq, call, kind, data in rows]

    async def call_id(self, caller: Phone) -> str:
        """The call that this phone's last dialling became; its CLI must be its own."""
        number = caller.account.uri.removeprefix("sip:").partition("@")[0]
        cli = {"kind": "number", "number": number}
        offered = await self.event("LegOffered", cli=cli)
        calls = [e for e in self.journal() if e["kind"] == "LegOffered" and e["cli"] == cli]
        return str((calls or [offered])[-1]["call_id"])

    async def at_node(self, caller: Phone, node: str) -> int:
        """Wait until the caller's call enters ``node``; the event's seq."""
        entered = await self.event("NodeEntered", call_id=await self.call_id(caller), node=node)
        return int(entered["seq"])

    async def through_menu(self, caller: Phone, language: str = "1") -> None:
        """The caller cuts the greeting with a language, and the menu with its first choice."""
        await caller.wait_for("CALL_ESTABLISHED")
        await self.at_node(caller, "greeting")
        await caller.send_digits(language)
        await self.at_node(caller, "menu")
        await caller.send_digits("1")
        await self.at_node(caller, "consent")

    async def answer_consent(self, caller: Phone, digit: str) -> None:
        """Hear the notice to its end, then press ``digit``."""
        asked = await self.at_node(caller, "consent")
        await self.event("PlayEnded", after=asked, call_id=await self.call_id(caller), completed=True)
        await caller.send_digits(digit)

    async def talking(self, caller: Phone) -> dict[str, Any]:
        """Wait until the caller talks to an agent; the TalkStarted event."""
        return await self.event("TalkStarted", call_id=await self.call_id(caller))

    async def record(self, call_id: str, deadline_s: float = 15) -> dict[str, Any]:
        """The CDR over REST, once the call has ended."""
        end = time.monotonic() + deadline_s
        while True:
            with contextlib.suppress(ApiProblem):  # the centre has not heard of it yet
                cdr: dict[str, Any] = await self.api.get(f"calls/{call_id}")
                if cdr["ended_at"] is not None:
                    return cdr
            if time.monotonic() > end:
                raise LabError(f"no record of an ended call {call_id} at the centre\n{self.logs()}")
            await asyncio.sleep(0.05)

    def lease_is_over(self) -> bool:
        """The dialplan no longer hands legs to the controller."""
        return self.server.lease() < int(time.time())

    async def calls(self) -> list[dict[str, Any]]:
        """All call records, oldest first."""
        return list(reversed(await self.api.items("calls")))

    async def ended_calls(self, count: int, deadline_s: float = 15) -> list[dict[str, Any]]:
        """The records once ``count`` calls have ended."""
        await self.api.until(
            "calls?live=false&limit=200", lambda page: len(page["items"]) >= min(count, 200), deadline_s
        )
        return [call for call in await self.calls() if call["ended_at"] is not None]

    def logs(self) -> str:
        return log_tail(self.controller.log_path) + self.server.logs()


def _of_centre(database: PostgresServer | None) -> dict[str, str]:
    return {} if database is None else {"CALLPLANE_CENTRE_DATABASE_URL": database.url}


def _is_synced(pop: dict[str, Any]) -> bool:
    return bool(pop["engine_up"]) and pop["revision_lag"] == 0 and pop["phones_pending"] == 0


def recordings_on_disk(pop: Host) -> list[Path]:
    """Every recording file at the POP, under way or finished, of whatever size."""
    places = (pop.shm / "recordings", pop.state_dir / "controller" / "recordings")
    found = (path for place in places if place.exists() for path in place.rglob("*") if path.is_file())
    # Digits of live calls, and what the dialplan noted, are no sound.
    noted = (ALONE_LOG, ALONE_DB)
    return sorted(path for path in found if path.parent.name != "hidden" and not path.name.startswith(noted))
