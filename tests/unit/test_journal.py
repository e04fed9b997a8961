"""The journal on a real SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from pbx.adapters.journal import sqlite
from pbx.adapters.journal.again import send_again
from pbx.adapters.journal.sqlite import UNSENT_IN_MEMORY, SqliteJournal
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue, JournalError
from pbx.domain.events import AgentChanged, CallbackRequested, LegAnswered, TimerFired
from pbx.domain.ids import AgentId, CallbackId, CallId, LegId, QueueId, is_ulid
from pbx.wire.messages import AgentConfig, ConfigEntry, EventEnvelope, FlowConfig, QueueConfig

CALL = CallId("01ARYZ6S410000000000000000")


def answered(at: float) -> LegAnswered:
    return LegAnswered(at=at, leg_id=LegId("leg"))


async def test_written_before_the_append_is_over(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j" / "journal.sqlite")
    await journal.append(CALL, [answered(1), TimerFired(at=2, timer="t")])
    other = sqlite3.connect(tmp_path / "j" / "journal.sqlite")
    assert other.execute("SELECT kind FROM events ORDER BY seq").fetchall() == [("LegAnswered",), ("TimerFired",)]
    other.close()
    journal.close()
    assert (tmp_path / "j" / "journal.sqlite").stat().st_mode & 0o077 == 0


async def test_every_commit_is_heard_of_once_it_can_be_sent(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    unsent: list[int] = []
    journal.on_written(lambda: unsent.append(journal.unsent_count()))
    first, second = journal.append(CALL, [answered(1)]), journal.append(CALL, [answered(2)])
    await first
    await second
    await journal.append(
        None, [AgentChanged(at=3, agent_id=AgentId("a"), status="AVAILABLE", reason=None, state="IDLE")]
    )
    assert unsent == [2, 3]
    journal.close()


async def test_outbox_survives_a_restart(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    identity = journal.journal_id
    assert is_ulid(identity)
    await journal.append(CALL, [answered(n) for n in range(5)])
    assert [e.seq for e in journal.unsent(3)] == [1, 2, 3]
    journal.mark_sent(3)
    journal.mark_sent(2)
    journal.close()
    again = SqliteJournal(tmp_path / "journal.sqlite")
    assert again.journal_id == identity
    assert [e.seq for e in again.unsent(10)] == [4, 5]
    assert again.unsent_count() == 2
    assert len(again.read_call(CALL)) == 5
    again.close()


async def test_what_was_sent_is_sent_again_from_a_time_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    await journal.append(CALL, [answered(n) for n in range(5)])
    journal.mark_sent(4)
    sending = journal.sending
    with pytest.raises(BadValue, match="stop the controller"):
        send_again(path, 0)
    await journal.append(CALL, [answered(5)])  # the refusal has left it as it was
    journal.close()
    assert send_again(path, since=2) == 2  # those at 2 and 3; the one at 4 was not sent
    again = SqliteJournal(path)
    assert [envelope.seq for envelope in again.unsent(10)] == [3, 4, 5, 6]
    assert (again.journal_id, again.sending != sending) == (journal.journal_id, True)
    again.close()
    assert send_again(path, since=4) == 0  # nothing of it was sent
    with pytest.raises(BadValue, match="there is none"):
        send_again(tmp_path / "other.sqlite", 0)
    assert not (tmp_path / "other.sqlite").exists()


async def test_the_outbox_is_the_same_from_memory_and_from_disk(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.sqlite", UNSENT_IN_MEMORY + 100
    journal = SqliteJournal(path)
    await journal.append(CALL, [answered(n) for n in range(50)])
    journal.close()
    journal = SqliteJournal(path)  # fifty on the disk alone
    for first in range(50, count, 500):
        await journal.append(CALL, [answered(n) for n in range(first, min(first + 500, count))])
    sent: list[EventEnvelope] = []
    while batch := journal.unsent(300):
        assert journal.unsent(300) == batch
        sent += batch
        journal.mark_sent(batch[-1].seq)
    assert [envelope.seq for envelope in sent] == list(range(1, count + 1))
    assert sent == journal.read_call(CALL)
    await journal.append(CALL, [answered(count)])
    assert [envelope.seq for envelope in journal.unsent(300)] == [count + 1]
    journal.close()


async def test_agents_changed_since_they_were_last_settled_are_found_after_a_crash(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.sqlite", tmp_path / "copy.sqlite"

    def changed(agent: str, status: str) -> AgentChanged:
        return AgentChanged(at=1, agent_id=AgentId(agent), status=status, reason=None, state="IDLE")

    journal = SqliteJournal(path)
    await journal.append(None, [changed("anna", "AVAILABLE"), changed("bert", "AVAILABLE")])
    await journal.append(None, [changed("anna", "NOT_READY")])
    assert {a.agent_id: a.status for a in journal.agents()} == {"anna": "NOT_READY", "bert": "AVAILABLE"}
    assert journal._db.execute("SELECT value FROM facts WHERE name = 'settled'").fetchone() == ("2",)
    for suffix in ("", "-wal"):  # what a killed process leaves behind
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    journal.close()
    found = SqliteJournal(copy)
    assert {a.agent_id: a.status for a in found.agents()} == {"anna": "NOT_READY", "bert": "AVAILABLE"}
    found.close()


async def test_what_a_full_disk_refuses_is_said_and_written_in_order_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "OWED_AT_MOST", 4)
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    journal._db.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"journal\.sqlite could not be written"):
        await journal.append(CALL, [answered(1)])
    journal.note(CALL, [answered(2)])
    with pytest.raises(JournalError, match="wait for room"):  # the disk is not asked every time
        await journal.append(CALL, [answered(3)])
    assert journal.meter.refused == 1
    other.execute("ROLLBACK")
    assert journal.unsent_count() == 0
    await asyncio.sleep(sqlite.TRY_AGAIN_S)  # by itself, though nobody writes any more
    assert [(e.seq, e.at) for e in journal.unsent(9)] == [(1, 1), (2, 2), (3, 3)]
    await journal.append(CALL, [answered(4)])
    assert [e.at for e in journal.read_call(CALL)] == [1, 2, 3, 4]

    # More than memory is to hold: the first are kept, the others lost.
    other.execute("BEGIN IMMEDIATE")
    for at in range(5, 11):
        with pytest.raises(JournalError):
            await journal.append(CALL, [answered(at)])
    other.execute("ROLLBACK")
    await asyncio.sleep(sqlite.TRY_AGAIN_S)
    assert [e.at for e in journal.read_call(CALL)] == list(range(1, 9))
    other.close()
    journal.close()


async def test_callbacks_of_a_full_disk_are_owed_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    journal._db.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    asked = CallbackRequested(
        at=1,
        callback_id=CallbackId("01ARYZ6S410000000000000001"),
        queue_id=QueueId("support"),
        number=E164("+491701234567"),
        did=E164("+49305550100"),
        trunk="carrier",
        language="de",
        entered_at=1,
        priority=0,
        needs=(),
        by="queue",
    )
    with pytest.raises(JournalError):
        await journal.append(None, [asked])
    other.execute("ROLLBACK")
    await asyncio.sleep(sqlite.TRY_AGAIN_S)
    assert journal.callbacks() == [asked]
    other.close()
    journal.close()


async def test_configuration_of_a_full_disk_is_owed_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    journal._db.execute("PRAGMA busy_timeout = 0")
    first, second = (ConfigEntry(revision=n, entity=FlowConfig(flow_id="a", version=n, graph={})) for n in (1, 2))
    journal.put_config("flow.gone", first)
    other.execute("BEGIN IMMEDIATE")
    journal.put_config("flow.a", first)
    journal.put_config("flow.a", second)
    journal.delete_config("flow.gone")
    journal.note_config(1.0, "queue.q", None)
    assert caplog.text.count("ALARM the disk refused a change of the configuration") == 1
    assert journal.config() == {"flow.gone": first}
    other.execute("ROLLBACK")
    await asyncio.sleep(sqlite.TRY_AGAIN_S)
    assert journal.config() == {"flow.a": second}
    assert journal._db.execute("SELECT key FROM config_history WHERE key IS NOT NULL").fetchall() == [("queue.q",)]
    other.close()
    journal.close()


async def test_agents_and_configuration_are_remembered(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    for status in ("AVAILABLE", "NOT_READY"):
        changed = AgentChanged(at=1, agent_id=AgentId("anna"), status=status, reason=None, state="IDLE")
        await journal.append(None, [changed])
    entry = ConfigEntry(revision=4, entity=FlowConfig(flow_id="main", version=1, graph={"a": [1]}))
    journal.put_config("flow.main", entry)
    journal.put_config("flow.gone", entry)
    journal.delete_config("flow.gone")
    journal._db.execute("INSERT INTO config VALUES ('flow.odd', CAST('{\"revision\": \"x\"}' AS BLOB))")
    journal.close()
    again = SqliteJournal(tmp_path / "journal.sqlite")
    assert [(a.agent_id, a.status) for a in again.agents()] == [("anna", "NOT_READY")]
    assert again.config() == {"flow.main": entry}
    again.close()


async def test_the_history_of_routing_configuration_has_its_place_and_no_secret(tmp_path: Path) -> None:
    agent = AgentConfig(agent_id="a", name="Ada Byron", phone_id="p", ha1="f" * 32, skills={"x": 1}, country="GB")
    queue = QueueConfig(queue_id="q", name="Q", skills={"x": 1})
    flow = FlowConfig(flow_id="main", version=1, graph={})

    def history() -> list[tuple[int, str | None, bytes | None]]:
        with sqlite3.connect(tmp_path / "journal.sqlite") as db:
            return db.execute("SELECT after_seq, key, entry FROM config_history ORDER BY n").fetchall()

    journal = SqliteJournal(tmp_path / "journal.sqlite")
    journal.note_config(1.0, "agent.a", ConfigEntry(revision=1, entity=agent))
    journal.put_config("agent.a", ConfigEntry(revision=1, entity=agent))
    journal.note_config(1.0, "flow.main", ConfigEntry(revision=2, entity=flow))
    written = journal.append(CALL, [answered(1), answered(2)])
    journal.note_config(2.0, "queue.q", ConfigEntry(revision=3, entity=queue))  # before the two are on the disk
    await written
    journal.note_config(3.0, "queue.q", None)
    # The copy on the disk says otherwise: what changed while no controller ran.
    journal.put_config("queue.q", ConfigEntry(revision=4, entity=queue))
    assert [(after, key) for after, key, _ in history()] == [(0, None), (0, "agent.a"), (2, "queue.q"), (2, "queue.q")]
    journal.close()
    SqliteJournal(tmp_path / "journal.sqlite").close()
    kept = history()
    assert [(after, key) for after, key, _ in kept[4:]] == [(2, "queue.q"), (2, None)]
    assert kept[3][2] is None
    assert kept[2][2] == kept[4][2]
    assert not any(secret in (entry or b"") for _, _, entry in kept for secret in (b"Byron", b"ffff"))
    assert b'"skills":{"x":1}' in (kept[1][2] or b"")
