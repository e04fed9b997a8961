"""The link's parts that need no bus: the key, the mirror of the bucket, the command desk."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import msgspec
import pytest

from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.link.bucket import Change, ConfigMirror, change_of
from pbx.adapters.link.commands import CommandDesk
from pbx.domain.errors import BadValue
from pbx.wire import pop_key
from pbx.wire.config_bucket import COMPLETE_KEY
from pbx.wire.messages import (
    CommandReply,
    CommandRequest,
    ConfigEntry,
    EntityConfig,
    FlowConfig,
    HangUpCall,
    Heartbeat,
    PopCommand,
    QueueConfig,
    ReadRecording,
)

QUEUE = QueueConfig(queue_id="sales", name="Sales", skills={})
FLOW = FlowConfig(flow_id="main", version=1, graph={})


class Handler:
    def __init__(self) -> None:
        self.changes: list[tuple[str, bool]] = []
        self.calls = 0

    def config_changed(self, key: str, entry: ConfigEntry | None) -> None:
        self.changes.append((key, entry is not None))

    async def command(self, request: CommandRequest) -> CommandReply:
        self.calls += 1
        await asyncio.sleep(1)
        if request.command == HangUpCall(call_id="bad"):
            raise RuntimeError("broken")
        return CommandReply(detail=str(self.calls))

    def heartbeat(self) -> Heartbeat:
        raise NotImplementedError


def put(key: str, revision: int, entity: EntityConfig) -> Change:
    return Change(key, revision, msgspec.json.encode(ConfigEntry(revision=revision, entity=entity)))


COMPLETE = Change(COMPLETE_KEY, 1, b"{}")


@pytest.fixture
def journal(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "j.db")


def test_a_key_is_a_nats_user_key() -> None:
    # Seed and public key of RFC 8032, 7.1, test 1.
    seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    nkey = pop_key.public_nkey(seed)
    assert nkey.startswith("U")
    raw = base64.b32decode(nkey)
    assert raw[1:33].hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert len(pop_key.new_key()) == 43
    for bad in ("", "short", seed + "AA", "!" * 43, "é" * 43):
        with pytest.raises(BadValue, match="not a POP key"):
            pop_key.public_nkey(bad)


def test_a_snapshot_makes_journal_and_handler_equal_to_the_bucket(journal: SqliteJournal) -> None:
    handler = Handler()
    mirror = ConfigMirror(journal, handler)
    mirror.snapshot([put("flow.main", 2, FLOW), COMPLETE, put("queue.sales", 5, QUEUE)])
    assert handler.changes == [("queue.sales", True), ("flow.main", True)]
    assert mirror.revision == 5
    again = Handler()
    mirror = ConfigMirror(journal, again)
    mirror.snapshot([COMPLETE, put("queue.sales", 5, QUEUE), Change("flow.main", 6, None)])
    assert again.changes == [("flow.main", False)]
    assert set(journal.config()) == {"queue.sales"}
    mirror.snapshot([COMPLETE])
    assert journal.config() == {}


def test_a_bucket_that_is_being_filled_deletes_nothing(journal: SqliteJournal) -> None:
    ConfigMirror(journal, Handler()).snapshot([COMPLETE, put("queue.sales", 1, QUEUE), put("flow.main", 2, FLOW)])
    handler = Handler()
    mirror = ConfigMirror(journal, handler)
    mirror.snapshot([])
    assert set(journal.config()) == {"queue.sales", "flow.main"}
    assert mirror.live(put("queue.sales", 9, QUEUE)) is False
    assert mirror.live(Change(COMPLETE_KEY, 10, b"{}")) is True
    mirror.snapshot([put("queue.sales", 9, QUEUE), Change(COMPLETE_KEY, 10, b"{}")])
    assert set(journal.config()) == {"queue.sales"}


def test_what_was_sent_before_the_snapshot_changes_nothing_after_it(journal: SqliteJournal) -> None:
    handler = Handler()
    mirror = ConfigMirror(journal, handler)
    mirror.snapshot([COMPLETE, Change("queue.sales", 7, None)])
    mirror.live(put("queue.sales", 6, QUEUE))
    assert handler.changes == []
    mirror.live(put("queue.sales", 8, QUEUE))
    assert handler.changes == [("queue.sales", True)]
    assert mirror.revision == 8


def test_an_entry_nobody_can_read_leaves_the_former_value(journal: SqliteJournal) -> None:
    mirror = ConfigMirror(journal, Handler())
    mirror.snapshot([COMPLETE, put("queue.sales", 1, QUEUE)])
    mirror.live(Change("queue.sales", 2, b'{"revision":2,"entity":{"type":"unheard"}}'))
    assert journal.config()["queue.sales"].revision == 1


def test_headers_say_whether_a_key_was_deleted() -> None:
    assert change_of("k", None, b"x") == Change("k", 0, b"x")
    assert change_of("k", {"KV-Operation": "DEL", "Callplane-Revision": "4"}, b"") == Change("k", 4, None)
    assert change_of("k", {"Callplane-Revision": "-1"}, b"x").revision == 0


def _request(command: PopCommand, key: str = "k", deadline_at: float = 100.0) -> bytes:
    return msgspec.json.encode(CommandRequest(idempotency_key=key, deadline_at=deadline_at, command=command))


async def _ask(desk: CommandDesk, *requests: bytes) -> list[CommandReply]:
    replies: asyncio.Queue[CommandReply] = asyncio.Queue()

    async def respond(data: bytes) -> None:
        replies.put_nowait(msgspec.json.decode(data, type=CommandReply))

    for request in requests:
        desk.take(request, respond)
    return [await asyncio.wait_for(replies.get(), 10) for _ in requests]


async def test_a_command_is_carried_out_once_however_often_it_comes() -> None:
    handler = Handler()
    desk = CommandDesk(handler, lambda: 50.0)
    hang_up = _request(HangUpCall(call_id="c"))
    replies = await _ask(desk, hang_up, hang_up)
    replies += await _ask(desk, hang_up)
    assert [r.detail for r in replies] == ["1", "1", "1"]
    assert handler.calls == 1
    read = _request(ReadRecording(recording_id="r", offset=0, length=1), "r")
    await _ask(desk, read, read)
    assert handler.calls == 3


async def test_a_command_after_its_deadline_is_not_begun() -> None:
    handler = Handler()
    (reply,) = await _ask(CommandDesk(handler, lambda: 100.1), _request(HangUpCall(call_id="c")))
    assert (reply.error_id, handler.calls) == ("deadline_passed", 0)


async def test_a_command_that_cannot_be_read_or_fails_is_answered() -> None:
    desk = CommandDesk(Handler(), lambda: 50.0)
    replies = await _ask(desk, b"{", _request(HangUpCall(call_id="bad")))
    assert [r.error_id for r in replies] == ["unknown_command", "internal"]
