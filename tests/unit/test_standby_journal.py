"""What of a POP's journal is at its standby, when, and what becomes of it at a takeover; on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pbx.adapters.journal import lineage
from pbx.adapters.journal.copy import JournalCopy
from pbx.adapters.journal.shadow import PATIENCE_S
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.domain.events import AgentChanged, LegAnswered
from pbx.domain.ids import AgentId, CallId, LegId, PopId, is_ulid
from pbx.wire import pair as wire
from pbx.wire.messages import AgentConfig, ConfigEntry

CALL = CallId("01ARYZ6S410000000000000000")


def answered(at: float) -> LegAnswered:
    return LegAnswered(at=at, leg_id=LegId("leg"))


def agent(status: str, at: float) -> AgentChanged:
    return AgentChanged(at=at, agent_id=AgentId("a"), status=status, reason=None, state="IDLE")


class Pair:
    """An active journal and its copy, with nothing between them but what is handed on."""

    def __init__(self, directory: Path) -> None:
        self.active = SqliteJournal(directory / "a" / "journal.sqlite")
        self.path = directory / "b" / "journal.sqlite"
        self.copy = JournalCopy(self.path)
        self.sent: list[wire.Message] = []

    def whole(self, directory: Path) -> None:
        self.active.write_copy(directory / "whole")
        assert self.copy.replace(directory / "whole") is None
        self.copy.apply(self.active.tables())

    def follow(self) -> None:
        self.active.shadow.follow(self.sent.append)
        self.active.shadow.caught_up(self.active.last)

    def deliver(self) -> int:
        while self.sent:
            self.copy.apply(self.sent.pop(0))
        self.active.shadow.acknowledged(self.copy.last)
        return self.copy.last


async def test_in_step_nothing_counts_as_written_before_both_hosts_have_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.active.append(CALL, [answered(1)])
    pair.whole(tmp_path)
    pair.follow()
    done = pair.active.append(CALL, [answered(2)])
    await asyncio.sleep(0.05)
    assert (pair.active.last, done.done()) == (2, False)
    assert [one.seq for one in pair.active.unsent(9)] == [1], "the centre hears of nothing that would be lost"
    assert pair.deliver() == 2
    await done
    assert [one.seq for one in pair.active.unsent(9)] == [1, 2]
    pair.active.close()


async def test_a_standby_that_does_not_answer_stops_nothing_for_longer_than_its_patience(tmp_path: Path) -> None:
    pair, loop = Pair(tmp_path), asyncio.get_running_loop()
    pair.whole(tmp_path)
    pair.follow()
    began = loop.time()
    await pair.active.append(CALL, [answered(1)])
    assert PATIENCE_S <= loop.time() - began < PATIENCE_S + 0.1
    assert not pair.active.shadow.in_step
    began = loop.time()
    await pair.active.append(CALL, [answered(2)])
    assert loop.time() - began < 0.05, "it goes on alone"
    assert len(pair.active.unsent(9)) == 2
    pair.active.close()


async def test_what_the_copy_holds_is_what_a_journal_holds(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.active.append(None, [agent("AVAILABLE", 1)])  # in the events only, as yet
    pair.active.put_config("agent.x", ConfigEntry(revision=1, entity=AgentConfig("x", "X", "x", "h", {}, "DE")))
    pair.whole(tmp_path)
    pair.follow()
    pair.active.keep_tenure(AgentId("a"), True, 3, PopId("p"))
    pair.active.note(None, [agent("NOT_READY", 2)])
    pair.active.delete_config("agent.x")
    await asyncio.sleep(0.05)
    pair.deliver()
    pair.copy.close()
    taken = SqliteJournal(pair.path)
    assert [one.status for one in taken.agents()] == ["NOT_READY"]
    assert taken.tenures() == [("a", True, 3, "p")]
    assert taken.config() == {}
    assert taken.secret() == pair.active.secret(), "hashes of callers stay the same"
    taken.close()
    pair.active.close()


async def test_a_takeover_writes_under_an_identity_of_its_own(tmp_path: Path) -> None:
    """The centre knows an event by identity and number: what two hosts wrote as number 3 are two events."""
    pair = Pair(tmp_path)
    await pair.active.append(CALL, [answered(1), answered(2)])
    pair.whole(tmp_path)
    pair.copy.close()
    await pair.active.append(CALL, [answered(3)])  # which the standby never hears of
    taken = SqliteJournal(pair.path)
    await taken.append(CALL, [answered(3.5), answered(4)])
    former, new = pair.active.journal_id, taken.journal_id
    assert is_ulid(new)
    assert new > former, "a call's events are read in this order"
    first = taken.unsent(10)
    assert [(one.seq, taken.origin(one.seq)) for one in first] == [(1, former), (2, former)], "one identity a batch"
    taken.mark_sent(2)
    assert [(one.seq, taken.origin(one.seq)) for one in taken.unsent(10)] == [(3, new), (4, new)]
    taken.close()
    again = SqliteJournal(pair.path)
    assert again.journal_id == new, "a restart of the active host is no takeover"
    again.close()
    pair.active.close()


async def test_who_comes_back_with_events_of_its_own_gets_a_copy_and_keeps_them_aside(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.active.append(CALL, [answered(1)])
    pair.whole(tmp_path)
    pair.copy.close()
    taken = SqliteJournal(pair.path)
    await pair.active.append(CALL, [answered(2)])
    await taken.append(CALL, [answered(2.5)])
    pair.active.close()
    former = JournalCopy(tmp_path / "a" / "journal.sqlite")
    assert not lineage.fits(taken.lineage, taken.last, former.lineage, former.last)
    taken.write_copy(tmp_path / "whole")
    aside = former.replace(tmp_path / "whole")
    assert aside is not None
    with sqlite3.connect(aside) as kept:
        assert kept.execute("SELECT at FROM events ORDER BY seq").fetchall() == [(1.0,), (2.0,)]
    assert former.last == 2
    former.close()
    taken.close()


J0, J1, J2 = "J0", "J1", "J2"


@pytest.mark.parametrize(
    ("ours", "last", "theirs", "their_last", "fits", "ahead"),
    [
        ([(1, J0)], 9, [(1, J0)], 5, True, False),
        ([(1, J0)], 9, [], 0, False, False),
        ([(1, J0)], 9, [(1, J1)], 5, False, False),
        ([(1, J0)], 4, [(1, J0)], 5, False, False),
        # The former active host comes back: as far as the copy was, or further.
        ([(1, J0), (6, J1)], 9, [(1, J0)], 5, True, False),
        ([(1, J0), (6, J1)], 9, [(1, J0)], 6, False, False),
        # Two takeovers of which the first wrote nothing.
        ([(1, J0), (6, J2)], 9, [(1, J0), (6, J1)], 5, True, False),
        ([(1, J0), (6, J2)], 9, [(1, J0), (6, J1)], 7, False, False),
        # A host that was active long ago, and is so again by mistake.
        ([(1, J0)], 9, [(1, J0), (6, J1)], 8, False, True),
    ],
)
def test_what_can_be_gone_on_with(
    ours: wire.Lineage, last: int, theirs: wire.Lineage, their_last: int, fits: bool, ahead: bool
) -> None:
    assert lineage.fits(ours, last, theirs, their_last) is fits
    assert lineage.is_ahead(ours, theirs, their_last) is ahead
