"""What may be captured, per regime, judged by files alone: each capture that ever was in the POP's recording directory,
what the vault holds afterwards, the centre's disk. Each caller and each agent speaks with a tone of its own, so that a
file tells whose voice is in it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dialplans.schema import Engine
from tests.lab.audio import BLOCK_S, FULL_SCALE, PRESENT_DB, Samples, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.programs import POP_ID
from tests.lab.stack import Stack, recordings_on_disk

TALK_S = 1.5
RATE = 8000
LOOK_S = 0.05
NUMBERS = {
    "DE": ("+4930555012", "+4917012345"),
    "GB": ("+4420794601", "+4420794602"),
    "CH": ("+4144555012", "+4178123450"),
}
"""Of a country: how its DIDs and its callers begin. Opt-in, notice and opt-out (``callplane consent explain``)."""

NOTES = "alone"
"""Of the calls that were served without a controller; FreeSWITCH keeps them in a database beside the captures, whose
bytes, played, are a tone."""

Voices = tuple[frozenset[int], frozenset[int]]
"""The tones on the left and on the right of a recording."""


class Tones:
    """One for each voice, and 90 Hz between them."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def new(self, name: str) -> int:
        return self.of.setdefault(name, 500 + 90 * len(self.of))

    def __getitem__(self, name: str) -> int:
        return self.of[name]

    def within(self, samples: Samples) -> frozenset[int]:
        """Tones that stand out from their surroundings for a quarter of a second somewhere."""
        size = round(BLOCK_S * RATE)
        blocks = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size // 2)]
        return frozenset(hz for hz in self.of.values() if any(self._stands_out(block, hz) for block in blocks))

    @staticmethod
    def _stands_out(block: Samples, hz: int) -> bool:
        level = tone_level_db(block, RATE, hz)
        return level >= PRESENT_DB and all(level > tone_level_db(block, RATE, hz + off) + 12 for off in (-30, 30))

    def voices(self, stereo: Samples) -> Voices:
        return self.within(stereo[:, 0]), self.within(stereo[:, 1])


class Captures:
    """Every file that ever came into the recording directory, as it was seen last."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: dict[str, bytes] = {}

    def look(self) -> None:
        for path in self.directory.glob("*.*"):
            if path.stem == NOTES:
                continue
            with contextlib.suppress(FileNotFoundError):  # destroyed or placed just now
                self.seen[path.name] = path.read_bytes()

    async def watch(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_S)

    def sounds(self) -> Iterator[Samples]:
        for data in self.seen.values():
            yield np.frombuffer(data[: len(data) // 4 * 4], "<i2").reshape(-1, 2) / FULL_SCALE


@dataclass
class Case:
    """One caller with a DID of ``country``, and agents of ``agents``' countries, the first in the DID's queue."""

    name: str
    country: str
    agents: tuple[str, ...]
    act: Callable[[Scene], Awaitable[None]]
    allowed: tuple[tuple[int, ...], ...] = ()
    """For each recording there must be at the end: the agents on its right."""
    at_least: str = "none"
    captured: bool | None = None
    """Whether the caller's voice may ever have been captured; None: if anything is allowed."""


class Scene:
    def __init__(self, stack: Stack, tones: Tones, case: Case, number: int) -> None:
        self.stack, self.tones, self.case, self.number = stack, tones, case, number
        begin, cli = NUMBERS[case.country]
        self.did, self.cli = f"{begin}{number:02}", f"{cli}{number:02}"
        self.queues = [f"{case.name}-{at}" for at in range(max(1, len(case.agents)))]
        self.names = [f"{case.name}{at}" for at in range(len(case.agents))]
        self.caller_name = f"{case.name}-caller"
        for name in (self.caller_name, *self.names):
            tones.new(name)

    async def configure(self) -> None:
        api, case = self.stack.api, self.case
        for queue in self.queues:
            body = {"queue_id": queue, "name": queue, "skills": {queue: 1}, "ring_timeout_s": 20, "wrap_up_s": 1}
            await api.post("queues", body)
        consent = {"type": "consent", "next": "wait", "timeout_s": 1, "tries": 1, "at_least": case.at_least}
        wait = {"type": "queue", "queue": self.queues[0], "on_refused": "full", "welcome": False}
        nodes = {"consent": consent, "wait": wait, "full": {"type": "hang_up", "prompts": ["queue-full"]}}
        await api.post(
            "flows", {"flow_id": case.name, "graph": {"start": "consent", "languages": ["de"], "nodes": nodes}}
        )
        did = {"number": self.did, "pop_id": POP_ID, "flow_id": case.name, "country": case.country}
        await api.post("dids", did | {"language": "de", "time_zone": "Europe/Berlin", "region": "eu"})
        for name, country, queue in zip(self.names, case.agents, self.queues, strict=False):
            await self.stack.add_agent(name, skills={queue: 3}, country=country)

    async def run(self) -> None:
        stack = self.stack
        async with AsyncExitStack() as phones:
            agents = (
                phones.enter_async_context(stack.agent(name, tone_hz=self.tones[name], reuse=True, available=at == 0))
                for at, name in enumerate(self.names)
            )
            self.agents = await asyncio.gather(*agents)
            hz = self.tones[self.caller_name]
            self.caller = await phones.enter_async_context(stack.caller(self.caller_name, self.cli, self.did, hz))
            await self.caller.wait_for("CALL_ESTABLISHED")
            self.call_id = await stack.call_id(self.caller)
            self.asked = await stack.at_node(self.caller, "consent")
            await self.case.act(self)
            if self.agents:
                await self.caller.hang_up()
            await stack.record(self.call_id)

    async def told(self, count: int = 1) -> None:
        """The notice has run to its end."""
        await self.stack.event("PlayEnded", count, after=self.asked, call_id=self.call_id, completed=True)

    async def press(self, digit: str) -> None:
        await self.told()
        await self.caller.send_digits(digit)

    async def talk(self, count: int = 1) -> None:
        """The caller and agents hear one another for a while."""
        await self.stack.event("TalkStarted", count, call_id=self.call_id, deadline_s=30)
        await self.more()

    async def more(self) -> None:
        samples, rate = self.caller.heard()
        enough = len(samples) + TALK_S * rate
        await asyncio.to_thread(
            wait_until, lambda: len(self.caller.heard()[0]) >= enough, 20, f"{self.case.name}: talk"
        )

    async def hand_on(self) -> None:
        await self.stack.status(self.names[1], "AVAILABLE")
        await self.stack.api.post(f"calls/{self.call_id}/transfer", {"queue_id": self.queues[1]})
        await self.talk(2)

    async def conference(self) -> None:
        other = self.stack.agents[self.names[1]].agent_id
        await self.stack.api.post(f"calls/{self.call_id}/consult", {"agent_id": other})
        await self.agents[1].wait_for("CALL_ESTABLISHED")
        await self.agents[0].hears(self.tones[self.names[1]], deadline_s=20)
        await self.stack.api.post(f"calls/{self.call_id}/consult/conference")
        await self.caller.hears(self.tones[self.names[1]], deadline_s=20)
        await self.more()

    def expected(self) -> list[Voices]:
        caller = frozenset((self.tones[self.caller_name],))
        return [(caller, frozenset(self.tones[self.names[at]] for at in part)) for part in self.case.allowed]


async def sounds(phone: Phone) -> None:
    """Wait until a moment of something loud has come."""
    heard = lambda: bool(phone.recordings()) and np.abs(phone.heard()[0]).max(initial=0) > 0.01  # noqa: E731
    await asyncio.to_thread(wait_until, heard, 20, f"sound at {phone.name}")


async def hangs_up_in_the_notice(scene: Scene) -> None:
    await sounds(scene.caller)
    await scene.caller.hang_up()


async def refuses_in_the_notice(scene: Scene) -> None:
    await sounds(scene.caller)
    await scene.caller.send_digits("2")
    await scene.talk()


async def refuses(scene: Scene) -> None:
    await scene.press("2")
    await scene.talk()


async def says_nothing(scene: Scene) -> None:
    await scene.talk()


async def withdraws(scene: Scene) -> None:
    await scene.press("1")
    await scene.talk()
    await scene.caller.send_digits("*0")
    await scene.stack.event("RecordingEnded", call_id=scene.call_id)
    await scene.more()


async def is_handed_on(scene: Scene) -> None:
    await scene.talk()
    await scene.hand_on()


async def agrees_and_is_handed_on(scene: Scene) -> None:
    await scene.press("1")
    await scene.talk()
    await scene.hand_on()


async def is_in_a_conference(scene: Scene) -> None:
    await scene.talk()
    await scene.conference()


async def agrees_and_is_in_a_conference(scene: Scene) -> None:
    await scene.press("1")
    await scene.talk()
    await scene.conference()


FIRST, SECOND, BOTH = (0,), (1,), (0, 1)
CASES = (
    Case("cuthangup", "GB", (), hangs_up_in_the_notice),
    Case("cutdigit", "GB", ("GB",), refuses_in_the_notice),
    Case("inno", "DE", ("DE",), refuses),
    Case("insilent", "DE", ("DE",), says_nothing),
    Case("outno", "CH", ("CH",), refuses),
    Case("outsilent", "CH", ("CH",), says_nothing, (FIRST,)),
    Case("withdrawn", "DE", ("DE",), withdraws, captured=True),
    # From a place where being told is enough to one where who is told must be able to refuse.
    Case("strictpart", "GB", ("GB", "PH"), is_handed_on, (FIRST,)),
    Case("askedmore", "GB", ("GB", "PH"), agrees_and_is_handed_on, (FIRST, SECOND), at_least="opt_in"),
    Case("confno", "GB", ("GB", "DE"), is_in_a_conference, (FIRST,)),
    Case("confyes", "DE", ("DE", "VN"), agrees_and_is_in_a_conference, (FIRST, BOTH)),
)


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


def written_since(directory: Path, began: float) -> dict[Path, bytes]:
    """Files and what is in them. The bus puts its files together as it goes: one that is gone when it is to be read has
    left its content in another."""
    found = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime >= began:
                found[path] = path.read_bytes()
    return found


async def test_exactly_what_is_allowed_is_on_disk(stack: Stack) -> None:
    tones = Tones()
    scenes = [Scene(stack, tones, case, number) for number, case in enumerate(CASES)]
    await asyncio.gather(*(scene.configure() for scene in scenes))
    captures = Captures(stack.pop.shm / "recordings")
    watching = asyncio.create_task(captures.watch())
    began = time.time()
    await asyncio.gather(*(scene.run() for scene in scenes))
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert captures.seen, "nothing was ever seen in the recording directory"

    # At rest: one sealed file for each recording that is allowed, with exactly the voices that are allowed.
    at_rest = recordings_on_disk(stack.pop)
    assert all(path.suffix == ".sealed" for path in at_rest), "a capture was left"
    found: list[Voices] = []
    pieces: list[bytes] = []
    for path in at_rest:
        wav = await stack.api.download(f"recordings/{path.stem}/content")
        pieces.append(wav[20_000:20_064])
        samples, rate = soundfile.read(io.BytesIO(wav))
        assert rate == RATE
        found.append(tones.voices(samples))
    key = lambda voices: (sorted(voices[0]), sorted(voices[1]))  # noqa: E731
    expected = [voices for scene in scenes for voices in scene.expected()]
    assert sorted(found, key=key) == sorted(expected, key=key)

    # While the calls went on: nothing was captured but what is at rest now, and what a caller took back.
    captured = frozenset[int]().union(*(side for sound in captures.sounds() for side in tones.voices(sound)))
    taken_back = [scene for scene in scenes if scene.case.captured]
    allowed = {hz for sides in expected for side in sides for hz in side}
    allowed |= {tones[name] for scene in taken_back for name in (scene.caller_name, *scene.names)}
    assert captured == allowed

    # The centre has no sound: neither sealed nor open, nor any piece of it.
    new = written_since(stack.centre.state_dir, began)
    assert new
    for path, data in new.items():
        assert not any(mark in data for mark in (b"CPSEALED", b"RIFF", *pieces)), path.name
