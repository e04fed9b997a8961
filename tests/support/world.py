"""A whole POP on the simulated engine and virtual time: what unit tests talk to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from dialplans.pack import load_pack
from dialplans.prompts import texts_of
from pbx.adapters.hidden.files import HiddenFiles
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.memory.engine import Caller, Phone, SimulatedEngine
from pbx.bootstrap import PlannedNumbers, dialling_of, fresh_vault, holidays_of, outbound_of
from pbx.controller import routing_commands
from pbx.controller.config_store import ConfigStore
from pbx.controller.pop import Pop
from pbx.controller.prompt_shelf import PromptShelf
from pbx.controller.witnesses import Witnesses
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import cli_of
from pbx.domain.flow import parse
from pbx.domain.ids import AgentId, CallId, FlowId, LegId, PopId, RecordingId
from pbx.ports.link import Link
from pbx.ports.media_engine import Clock
from pbx.ports.mesh import Mesh
from pbx.recording.recorder import Recorder
from pbx.wire import messages as wire
from pbx.wire.codec import project_call
from tests.support.lookups import ScriptedLookups
from tests.support.virtual_time import VirtualTimeLoop, real_deadline

DID = "+49305550100"
CALLER = "+4917012345678"

FLOW: dict[str, Any] = {
    "start": "greeting",
    "languages": ["de", "en"],
    "nodes": {
        "greeting": {"type": "say", "prompts": ["greeting"], "next": "language"},
        "language": {"type": "language", "choices": {"1": "de", "2": "en"}, "next": "menu"},
        "menu": {
            "type": "menu",
            "prompt": "menu",
            "choices": {"1": "consent", "2": "consent"},
            "on_failure": "goodbye",
        },
        "consent": {"type": "consent", "next": "wait"},
        "wait": {"type": "queue", "queue": "support", "on_refused": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
        "goodbye": {"type": "hang_up", "prompts": ["goodbye"]},
    },
}

SHORT_FLOW: dict[str, Any] = {
    "start": "wait",
    "languages": ["de"],
    "nodes": {
        "wait": {"type": "queue", "queue": "support", "on_refused": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}


def sha_of(prompt_id: str, language: str) -> str:
    return f"sha-{language}-{prompt_id}"


class World:
    """``async with World(tmp_path) as world``; needs a VirtualTimeLoop."""

    def __init__(
        self,
        directory: Path,
        flow: dict[str, Any] | None = None,
        clock: Clock | None = None,
        link: Link | None = None,
        witnesses: Callable[[], Witnesses] = Witnesses,
        pop_id: str = "de-1",
        mesh: Mesh | None = None,
        **queue: Any,
    ) -> None:
        if clock is None:
            loop = asyncio.get_running_loop()
            if not isinstance(loop, VirtualTimeLoop):
                raise TypeError("a World lives in virtual time, or has a clock of its own")
            clock = loop.wall
        self.clock, self.pop_id, self.mesh = clock, PopId(pop_id), mesh
        graph = flow or FLOW
        prompt_ids = parse(FlowId("check"), 1, graph).prompt_ids()
        prompt_ids |= {name for name in texts_of("de") if name.startswith("agent-")}
        prompt_ids |= {name for name in texts_of("de") if name.startswith("callback-")}
        prompts = {(p, language): sha_of(p, language) for p in prompt_ids for language in ("de", "en")}
        self.regimes = RegimeTable({"DE": Regime.OPT_IN, "PL": Regime.NOTICE, "GB": Regime.NONE, "CH": Regime.OPT_OUT})
        self.directory = directory
        self.recordings = directory / "recording"
        self.recordings.mkdir()
        self.vault_root = directory / "vault"
        self.engine = SimulatedEngine(self.clock)
        self.engine.pop_id = self.pop_id
        self.commands = 0
        self.prompts = prompts
        self.lookups = ScriptedLookups()
        self.dead = False
        self.trunk: str | None = None
        """Over which outside numbers are called; None: the one by which the caller came."""
        self._link = link
        self._witnesses = witnesses
        self.starts = 0
        self._build()
        self._before = self.journal._last
        did = wire.DidConfig(
            number=DID, flow_id="main", country="DE", language="de", time_zone="Europe/Berlin", region="eu"
        )
        settings: dict[str, Any] = {"queue_id": "support", "name": "Support", "skills": {"support": 1}} | queue
        self.configure("flow.main", wire.FlowConfig(flow_id="main", version=1, graph=graph))
        self.configure("queue.support", wire.QueueConfig(**settings))
        self.configure("did.49305550100", did)

    def _build(self) -> None:
        """A controller on the journal and the media server that are there."""
        self.journal = SqliteJournal(self.directory / "journal.sqlite")
        self.vault = vault = fresh_vault(self.directory, {"eu"})
        recorder = Recorder(self.engine, vault, self.recordings, self.clock)
        self.config = ConfigStore(
            self.regimes, self.prompts, holidays_of, dialling_of(load_pack("DE"), trunk=self.trunk)
        )
        self.pop = Pop(
            self.pop_id,
            self.engine,
            self.journal,
            recorder,
            vault,
            self.config,
            self.clock,
            languages=("de", "en"),
            lookups=self.lookups,
            numbers=PlannedNumbers("08:00-21:00"),
            outbound=outbound_of(allowed=("+49137",), queue_id="support"),
            shelf=PromptShelf(self.directory / "uploaded", self.prompts, {}, lambda alaw: {"alaw": alaw}),
            hidden=HiddenFiles(self.directory / "hidden"),
            witnesses=self._witnesses(),
            mesh=self.mesh,
        )
        self.starts += 1

    # --- a controller that dies -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """The controller is gone at this very moment, with what it had not written yet. The media server and the people
        go on."""
        self.dead, self.regimes = True, self.config.regimes
        self.engine.cut()
        self._end_threads()
        pop, journal = self.pop, self.journal
        for actor in pop.calls.values():
            actor.halt()
        for task in (*pop._tasks, *pop._readoption._jobs):
            task.cancel()
        pop.router.stop()
        if pop.spanning is not None:
            pop.spanning.stop()
        pop.callbacks.stop()
        pop.features.stop()
        if journal._next_flush is not None:
            journal._next_flush.cancel()
        journal._pending.clear()
        journal._waiters.clear()
        journal._stop.set()
        journal._db.close()

    @staticmethod
    def _end_threads() -> None:
        """A process takes its threads along. Here one that seals comes to its end, before the next controller looks."""
        loop = asyncio.get_running_loop()
        executor: Executor | None = getattr(loop, "_default_executor", None)
        if executor is not None:
            executor.shutdown(wait=True)
            loop._default_executor = None  # type: ignore[attr-defined]

    def kill_at_commit(self, number: int, written: bool) -> None:
        """The controller dies at its next commit but ``number``: just after it, or just before."""
        flush, left = self.journal._flush, number

        def dying(*, closing: bool = False) -> None:
            nonlocal left
            left -= 1
            if left >= 0 or written:
                flush(closing=closing)
            if left < 0:
                self.kill()

        self.journal._flush = dying  # type: ignore[method-assign]

    def spare(self) -> None:
        """It does not die any more."""
        self.journal.__dict__.pop("_flush", None)

    async def die(self, *, kill: bool = True) -> None:
        """The controller is killed, or ended in order."""
        if kill:
            self.kill()
        else:
            self.dead, self.regimes, self.engine.outlives = True, self.config.regimes, True
            await self.pop.stop()
            self._end_threads()
        await asyncio.sleep(0)

    async def live(self) -> None:
        """The next controller starts."""
        await self.pop.phones.stop()
        self.dead = False
        self._build()
        await self.pop.start(None)

    async def restart(self, *, kill: bool = True, away_s: float = 0.5) -> None:
        await self.die(kill=kill)
        await asyncio.sleep(away_s)
        await self.live()

    def put_flow(self, flow_id: str, graph: dict[str, Any], version: int = 1) -> None:
        for prompt_id in parse(FlowId(flow_id), version, graph).prompt_ids():
            for language in ("de", "en"):
                self.prompts[prompt_id, language] = sha_of(prompt_id, language)
        self.configure(f"flow.{flow_id}", wire.FlowConfig(flow_id=flow_id, version=version, graph=graph))
        assert not self.config.errors

    def configure(self, key: str, entity: wire.EntityConfig) -> None:
        self.pop.config_changed(key, wire.ConfigEntry(revision=self.config.revision + 1, entity=entity))

    async def __aenter__(self) -> World:
        await self.pop.start(self._link)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pop.router.acd.check()
        if self.journal._pending:
            self.journal._flush()
        if self.starts == 1 and self.journal.meter.refused == 0:
            self._check_tally()
        await self.pop.stop()

    def _check_tally(self) -> None:
        """What was counted is what the records say."""
        # The product reads single calls seldom and has no index for it; a long fuzz run spent a third of its time here.
        self.journal._db.execute("CREATE INDEX IF NOT EXISTS of_call ON events (call_id)")
        ended = "SELECT DISTINCT call_id FROM events WHERE kind = 'CallEnded' AND seq > ?"
        ids = [call_id for (call_id,) in self.journal._db.execute(ended, (self._before,))]
        records = [self.cdr(CallId(call_id)) for call_id in ids]
        tally = self.pop.witnesses.tally
        assert tally.ended.total() == len(records)
        counted = sum(queue.abandoned for queue in tally.queues.values())
        assert counted == sum(cdr.abandoned for cdr in records), "as many abandoned as the records say"

    def agent(
        self, name: str, available: bool = True, country: str = "DE", skills: dict[str, int] | None = None, **more: Any
    ) -> Phone:
        """An agent with a registered phone."""
        skills = {"support": 3} if skills is None else skills
        config = wire.AgentConfig(
            agent_id=name, name=name, phone_id=name, ha1="0" * 32, skills=skills, country=country, **more
        )
        self.configure(f"agent.{name}", config)
        phone = self.engine.phone(name)
        if available:
            self.status(name, "AVAILABLE")
        return phone

    def status(self, name: str, status: str, reason: str | None = None) -> None:
        self.told(wire.SetAgentStatus(agent_id=name, status=status, reason=reason))

    def told(self, command: wire.RoutingCommand) -> wire.CommandReply:
        """The reply to a command that must not be refused."""
        reply = routing_commands.carry_out(self.pop.router, command)
        assert reply.error_id is None, reply.detail
        return reply

    async def command(self, command: wire.PopCommand) -> str | None:
        """The error's id, None when it was done."""
        self.commands += 1
        request = wire.CommandRequest(idempotency_key=f"c{self.commands}", deadline_at=9e9, command=command)
        return (await self.pop.command(request)).error_id

    def hears(self, leg_id: LegId | None) -> set[str]:
        """The names of the phones that this leg hears, ``caller`` for legs from outside, and music."""
        leg = self.engine.legs[leg_id or LegId("")]
        names = {f"leg:{phone.leg_id}": str(name) for name, phone in self.engine.phones.items()}
        sounds = leg.hearing[-1][1] if leg.hearing else frozenset()
        return {names.get(sound, "caller" if sound.startswith("leg:") else sound) for sound in sounds}

    def state(self, name: str) -> tuple[str, str | None, str]:
        agent = self.pop.router.agent(AgentId(name))
        assert agent is not None
        return agent.status.value, agent.reason, agent.state.value

    async def call(self, cli: str = CALLER, country: str | None = "DE", did: str = DID) -> Caller:
        """A caller whose call the journal has."""
        caller = self.engine.call(did, cli_of(cli), country)
        await self.until(lambda: bool(self._call_ids(caller)), "the call in the journal")
        return caller

    async def until(self, condition: Any, what: str = "the condition") -> None:
        """Let virtual time run until ``condition()``; AssertionError after an hour of it, or 10 s of real time."""
        end, late = self.clock() + 3600, real_deadline(10)
        while not condition():
            if self.clock() > end or late():
                raise AssertionError(f"waited in vain for {what}")
            await asyncio.sleep(0.05)

    async def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass."""
        await asyncio.sleep(seconds)

    async def ended(self, caller: Caller) -> Cdr:
        """The record of the caller's call once it is over."""
        call_id = self.call_id(caller)
        await self.until(lambda: call_id not in self.pop.calls, "the end of the call")
        return self.cdr(call_id)

    def _call_ids(self, caller: Caller) -> list[str]:
        found = "kind = 'LegOffered' AND json_extract(CAST(data AS TEXT), '$.leg_id') = ?"
        rows = self.journal._db.execute(f"SELECT call_id FROM events WHERE {found}", (caller.leg_id,))  # noqa: S608
        return [call_id for (call_id,) in rows]

    def call_id(self, caller: Caller) -> CallId:
        ids = self._call_ids(caller)
        assert len(ids) == 1, "the call is in the journal exactly once"
        return CallId(ids[0])

    def cdr(self, call_id: CallId) -> Cdr:
        return project_call(call_id, self.journal.read_call(call_id))

    def kinds(self, caller: Caller) -> list[str]:
        return [envelope.kind for envelope in self.journal.read_call(self.call_id(caller))]

    def unsealed(self, recording_id: str) -> Path:
        """A WAV file of what the vault has."""
        blob, size = self.vault.read(RecordingId(recording_id), 0, 1 << 30)
        assert len(blob) == size
        path = self.directory / f"{recording_id}.wav"
        path.write_bytes(blob)
        return path

    def files(self) -> list[str]:
        """All recording files, under way or finished."""
        found = [*self.recordings.rglob("*"), *self.vault_root.rglob("*")]
        return sorted(path.name for path in found if path.is_file())
