"""What is queued reaches its target: back-off in virtual time, dead letters, failing, slow and forbidden targets. The
targets are real servers; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import func, select, update

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from orchestrator.adapters.db.models import DeliveryRow, WebhookRow
from orchestrator.adapters.webhook_target import Targets
from orchestrator.config import CentreSettings
from orchestrator.domain.webhook_pacing import FAILING, GIVE_UP_S
from orchestrator.domain.webhook_signature import new_secret
from orchestrator.services import webhooks
from orchestrator.services.secret_box import SecretBox
from orchestrator.services.webhook_queue import delivery
from orchestrator.services.webhook_sender import PER_HOOK, WebhookSender
from tests.integration.centre.conftest import Postgres
from tests.integration.centre.support import until
from tests.support.webhook_receiver import Received, Receiver

BOX = SecretBox(bytes(32))
LOOPBACK = (ip_network("127.0.0.0/8"),)
START = 1_790_000_000.0


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(CentreSettings(state_dir=tmp_path, database_url=SecretStr(database_url)).sqlalchemy_url())
    await upgrade(made.engine)
    yield made
    await made.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().running() as running:
        yield running


class Clock:
    """Of the deliveries; requests take real time."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Scene:
    def __init__(self, database: Database, sender: WebhookSender, clock: Clock) -> None:
        self.database, self.sender, self.clock = database, sender, clock
        self.secrets: dict[str, str] = {}

    async def hook(self, url: str, name: str = "hook") -> None:
        secret = self.secrets[name] = new_secret()
        async with self.database.write() as session:
            row = WebhookRow(webhook_id=name, url=url, events=["*"], description="", active=True, created_at=START)
            row.secret, row.listens = BOX.seal(secret, f"webhook {name}"), True
            session.add(row)

    async def queue(self, *messages: str, name: str = "hook", subject: str | None = None) -> None:
        """Each of a subject of its own, unless told otherwise."""
        async with self.database.write() as session:
            for message in messages:
                body = f'{{"type": "CallEnded", "data": "{message}"}}'
                values = delivery(name, message, "CallEnded", subject or message, START, body, self.clock())
                session.add(DeliveryRow(**values))
                await session.flush()
        self.sender.wake()

    async def rows(self, name: str = "hook") -> dict[str, DeliveryRow]:
        async with self.database.read() as session:
            found = await session.scalars(select(DeliveryRow).where(DeliveryRow.webhook_id == name))
            return {row.message_id: row for row in found}

    async def noted(self, message: str, attempts: int, name: str = "hook") -> DeliveryRow:
        async def there() -> DeliveryRow | None:
            row = (await self.rows(name)).get(message)
            return row if row is not None and row.attempts == attempts else None

        found = await until(there)
        assert isinstance(found, DeliveryRow)
        return found

    async def count(self, name: str, state: str) -> int:
        async with self.database.read() as session:
            same = DeliveryRow.webhook_id == name, DeliveryRow.state == state
            return await session.scalar(select(func.count()).select_from(DeliveryRow).where(*same)) or 0

    async def all_are(self, state: str, number: int, name: str = "hook") -> None:
        async def there() -> bool:
            return await self.count(name, state) == number

        await until(there)

    def later(self, at: float) -> None:
        assert at >= self.clock.now
        self.clock.now = at
        self.sender.wake()


@asynccontextmanager
async def sending(
    database: Database, *, networks: Any = LOOPBACK, deadline_s: float = 10.0, clock: Clock | None = None
) -> AsyncIterator[Scene]:
    clock = clock or Clock()
    sender = WebhookSender(database, BOX, Targets(networks, 64, deadline_s), clock, lambda: 0.5)
    task = asyncio.create_task(sender.run())
    try:
        yield Scene(database, sender, clock)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_failing_delivery_is_tried_for_a_day_and_then_dead(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: 500
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        attempts, due = 0, START
        while True:
            attempts += 1
            row = await scene.noted("m1", attempts)
            assert receiver.received[-1].sent_at == int(scene.clock.now) >= int(due)
            if row.state == "dead":
                break
            assert (row.state, row.status, row.error) == ("waiting", 500, "status")
            assert row.next_at is not None
            due = row.next_at
            scene.later(due - 0.5)  # not due yet: the assertion above sees an attempt that comes too early
            scene.later(due)
        times = [one.sent_at - int(START) for one in receiver.received]
        assert times == [0, 5, 25, 105, 425, 1705, 6825, 27305, 56105, 84905, 86400]
        assert (row.ended_at, row.next_at, row.attempts) == (START + GIVE_UP_S, None, 11)
        assert {one.message_id for one in receiver.received} == {"m1"}
        assert all(one.signed_with(scene.secrets["hook"]) for one in receiver.received)
        assert (scene.sender.counts.attempts, scene.sender.counts.failed, scene.sender.counts.dead) == (11, 11, 1)


async def test_it_is_sent_again_after_a_failure_and_no_more_after_success(
    database: Database, receiver: Receiver
) -> None:
    receiver.answer = lambda _received: 503 if len(receiver.received) < 3 else 200
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        for attempts in (1, 2):
            row = await scene.noted("m1", attempts)
            assert row.next_at is not None
            scene.later(row.next_at)
        row = await scene.noted("m1", 3)
        assert (row.state, row.status, row.error, row.next_at) == ("delivered", 200, None, None)
        scene.later(START + 2 * GIVE_UP_S)
        await scene.queue("m2")
        await scene.noted("m2", 1)
        assert [one.message_id for one in receiver.received] == ["m1", "m1", "m1", "m2"]


async def test_of_one_subject_each_waits_for_the_one_before(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda one: 500 if one.message_id == "a1" and len(receiver.received) < 4 else 204
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("a1", "a2", "a3", subject="a")
        await scene.queue("b1", "b2", subject="b")
        row = await scene.noted("a1", 1)
        await scene.noted("b2", 1)
        assert {one.message_id for one in receiver.received} == {"a1", "b1", "b2"}
        assert row.next_at is not None
        scene.later(row.next_at)
        await scene.noted("a3", 1)
    order = [one.message_id for one in receiver.received]
    assert [one for one in order if one[0] == "a"] == ["a1", "a1", "a2", "a3"]
    assert [one for one in order if one[0] == "b"] == ["b1", "b2"]


async def test_a_target_that_is_back_gets_at_once_all_that_waited(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: 502
    messages = [f"m{n:02}" for n in range(40)]
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue(*messages)
        async with database.write() as session:  # one that has failed long ago
            of_last = DeliveryRow.message_id == messages[-1]
            await session.execute(update(DeliveryRow).where(of_last).values(next_at=START + 20_000))
        await until(lambda: len(receiver.received) >= FAILING)

        async def quiet() -> bool:
            """Nothing is under way, and what was has been noted."""
            rows = await scene.rows()
            return scene.sender.under_way == 0 and sum(row.attempts for row in rows.values()) == len(receiver.received)

        await until(quiet)
        tried = len(receiver.received)
        assert tried < FAILING + PER_HOOK  # and no more: 32 others wait untried
        receiver.answer = lambda _received: 200
        scene.later(START + 100)
        await scene.all_are("delivered", 40)
        assert {one.message_id for one in receiver.received[tried:]} == set(messages)


async def test_what_waits_behind_a_dead_target_ends_with_it(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: 500
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue(*(f"m{n:02}" for n in range(30)))
        for hours in range(1, 27):
            before = len(receiver.received)
            await until(lambda before=before: len(receiver.received) > before or scene.sender.under_way == 0)
            await until(lambda: scene.sender.under_way == 0)
            scene.later(START + 3600.0 * hours)
            if not await scene.count("hook", "waiting"):
                break
        await scene.all_are("dead", 30)
        assert len(receiver.received) < 60  # far less than 30 times 11
        assert {row.error for row in (await scene.rows()).values()} == {"status"}


async def test_a_target_that_is_gone_is_not_asked_again(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: 410
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("a1", "a2", "a3", subject="a")
        await scene.all_are("dead", 3)
        async with database.read() as session:
            hook = await session.get_one(WebhookRow, "hook")
        assert (hook.active, hook.stopped_why, hook.stopped_at) == (False, "gone", START)
        assert {row.error for row in (await scene.rows()).values()} == {"gone"}
        assert scene.sender.counts.stopped == 1
    assert [one.message_id for one in receiver.received] == ["a1"]


async def test_a_slow_target_holds_nobody_up(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda one: None if one.path == "/slow" else 200
    async with sending(database, deadline_s=60.0) as scene:
        await scene.hook(receiver.url("/slow"), "slow")
        await scene.hook(receiver.url("/good"), "good")
        await scene.queue(*(f"s{n}" for n in range(20)), name="slow")
        await until(lambda: len(receiver.at("/slow")) == PER_HOOK)
        await scene.queue(*(f"g{n}" for n in range(20)), name="good")
        await scene.all_are("delivered", 20, "good")
        assert len(receiver.at("/slow")) == PER_HOOK
        assert await scene.count("slow", "waiting") == 20


async def test_many_failing_targets_leave_room(database: Database, receiver: Receiver) -> None:
    """Thirty that answer nothing, and one that does."""
    receiver.answer = lambda one: 200 if one.path == "/good" else None
    async with sending(database, deadline_s=0.2) as scene:
        for n in range(30):
            await scene.hook(receiver.url(f"/{n}"), f"h{n}")
            await scene.queue(*(f"{n}-{m}" for m in range(6)), name=f"h{n}")
        await scene.hook(receiver.url("/good"), "good")
        for n in range(10):
            await scene.queue(f"g{n}", name="good")
        await scene.all_are("delivered", 10, "good")
        row = await scene.noted("0-0", 1, "h0")
        assert (row.state, row.status, row.error) == ("waiting", None, "deadline")


@pytest.mark.parametrize("turns", range(8))
async def test_who_ends_it_is_heard_whatever_happens_at_the_same_time(database: Database, turns: int) -> None:
    """A cancellation that came together with a reason to look again was lost, and it went on for ever."""
    sender = WebhookSender(database, BOX, Targets(LOOPBACK, 64, 1.0))
    looked = 0
    begin = sender._begin

    async def counted() -> None:
        nonlocal looked
        await begin()
        looked += 1

    sender._begin = counted  # type: ignore[method-assign]
    task = asyncio.create_task(sender.run())
    await until(lambda: looked)
    sender.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    _, goes_on = await asyncio.wait({task}, timeout=5)
    task.cancel()
    assert not goes_on


async def test_a_wish_to_wait_is_heard(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: web.Response(status=429, headers={"Retry-After": "600"})
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        row = await scene.noted("m1", 1)
        assert row.next_at == START + 600


async def test_a_redirect_is_not_followed(database: Database, receiver: Receiver) -> None:
    receiver.answer = lambda _received: web.Response(status=307, headers={"Location": "/elsewhere"})
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        row = await scene.noted("m1", 1)
    assert (row.status, row.error) == (307, "redirected")
    assert [one.path for one in receiver.received] == ["/hook"]


@pytest.mark.parametrize(
    ("scheme", "host", "networks"),
    [
        ("http", "127.0.0.1", ()),
        ("https", "127.0.0.1", ()),
        ("https", "localhost", ()),
        ("https", "2130706433", ()),
        ("https", "[::ffff:127.0.0.1]", ()),
        ("http", "localhost", (ip_network("10.0.0.0/8"),)),
    ],
)
async def test_nothing_private_is_reached_by_any_name(
    database: Database, receiver: Receiver, scheme: str, host: str, networks: Any
) -> None:
    async with sending(database, networks=networks) as scene:
        await scene.hook(receiver.url(scheme=scheme, host=host))
        await scene.queue("m1")
        row = await scene.noted("m1", 1)
    assert (row.status, row.error) == (None, "not_allowed")
    assert receiver.received == []


async def test_nobody_listens(database: Database) -> None:
    async with sending(database) as scene:
        await scene.hook("http://127.0.0.1:1/hook")
        await scene.queue("m1")
        assert (await scene.noted("m1", 1)).error == "unreachable"


async def test_both_secrets_sign_until_the_former_one_is_over(database: Database, receiver: Receiver) -> None:
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        former, new = scene.secrets["hook"], new_secret()
        async with database.write() as session:
            hook = await session.get_one(WebhookRow, "hook")
            hook.former_secret, hook.former_until = hook.secret, START + 100
            hook.secret = BOX.seal(new, "webhook hook")
        await scene.queue("m1")
        await scene.noted("m1", 1)
        scene.later(START + 100)
        await scene.queue("m2")
        await scene.noted("m2", 1)
    signed = [(one.signed_with(former), one.signed_with(new)) for one in receiver.received]
    assert signed == [(True, True), (False, True)]


async def test_what_was_sent_and_not_noted_is_sent_again(database: Database, receiver: Receiver) -> None:
    """As after kill -9: the first sender is gone in the middle of a request."""
    receiver.answer = lambda _received: None
    clock = Clock()
    async with sending(database, clock=clock) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        await until(lambda: receiver.received)
    receiver.answer = lambda _received: 200
    async with sending(database, clock=clock) as scene:
        row = await scene.noted("m1", 1)
    assert row.state == "delivered"
    assert [one.message_id for one in receiver.received] == ["m1", "m1"]


async def test_one_made_inactive_while_it_is_its_turn_is_sent_nothing(
    postgres: Postgres, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite both are read as of one moment."""
    database = Database((await postgres.migrated_database()).replace("postgresql://", "postgresql+asyncpg://"))
    turns: list[list[DeliveryRow]] = []
    due = WebhookSender._due

    async def late(self: WebhookSender, session: Any, webhook_id: str, most: int) -> Any:
        async with database.write() as other:
            (await other.get_one(WebhookRow, webhook_id)).active = False
        turns.append(await due(self, session, webhook_id, most))
        return turns[-1]

    monkeypatch.setattr(WebhookSender, "_due", late)
    async with sending(database) as scene:
        await scene.hook(receiver.url())
        await scene.queue("m1")
        await until(lambda: turns)
        assert (await scene.rows())["m1"].state == "waiting"
    await database.close()
    assert turns == [[]]


async def test_old_deliveries_are_forgotten(database: Database, receiver: Receiver) -> None:
    def half(one: Received) -> int:
        return 410 if one.path == "/gone" else 200

    receiver.answer = half
    async with sending(database) as scene:
        await scene.hook(receiver.url(), "good")
        await scene.hook(receiver.url("/gone"), "gone")
        await scene.hook(receiver.url(), "idle")
        async with database.write() as session:
            (await session.get_one(WebhookRow, "idle")).active = False
        await scene.queue("m1", name="good")
        await scene.queue("m1", name="gone")
        await scene.queue("m1", name="idle")
        await scene.all_are("delivered", 1, "good")
        await scene.all_are("dead", 1, "gone")

    async def kept(now: float) -> list[tuple[str, str]]:
        async with database.write() as session:
            await webhooks.keep_house(session, 100.0, 1000.0, now)
        async with database.read() as session:
            found = await session.scalars(select(DeliveryRow).order_by(DeliveryRow.webhook_id))
            return [(row.webhook_id, row.state) for row in found]

    assert await kept(START + 99) == [("gone", "dead"), ("good", "delivered"), ("idle", "waiting")]
    assert await kept(START + 100) == [("gone", "dead"), ("idle", "waiting")]
    assert await kept(START + 1000) == [("idle", "waiting")]
    assert await kept(START + GIVE_UP_S) == [("idle", "dead")]
    assert await kept(START + GIVE_UP_S + 1000) == []
