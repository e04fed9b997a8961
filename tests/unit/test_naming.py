"""The POP says what it calls a number towards the centre, and changes nothing by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbx.adapters.journal import naming as file_naming
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.forgetting import digest
from pbx.domain.ids import CallId, LegId, derive
from pbx.domain.pseudonyms import Pseudonyms
from pbx.wire import messages as wire
from tests.support.world import World

KEY = bytes(range(32))
PERSON, HOME, NEVER, DID = "+4917012345678", "017012345678", "+4917012345670", E164("+49305550100")
DIGESTS = [digest(KEY, PERSON), digest(KEY, HOME)]
NAMES = Pseudonyms(b"secret")


def asked(**change: object) -> wire.NameNumbers:
    base: dict[str, object] = {"key": KEY.hex(), "digests": DIGESTS}
    return wire.NameNumbers(**{**base, **change})  # type: ignore[arg-type]


def events(at: float, cli: str, note: str) -> list[ev.Event]:
    leg = LegId("leg")
    return [
        ev.LegOffered(at=at, leg_id=leg, did=DID, cli=cli_of(cli), caller_country="DE", trunk="t1"),
        ev.LookupEnded(at=at, lookup_id="l", error="", status=200, values={"note": note}),
    ]


async def test_each_spelling_has_the_name_that_the_centre_was_told(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.sqlite")
    await journal.append(CallId(derive(1.0, "a")), events(1.0, PERSON, f"first\n{HOME}"))
    before = [bytes(one.data) for one in journal.unsent(100)]
    found = await journal.name(asked(), NAMES.of)
    assert found.names == {DIGESTS[0]: NAMES.of(PERSON), DIGESTS[1]: NAMES.of(HOME)}
    assert NAMES.of(HOME) in NAMES.told("ForwardStarted", f'{{"why":"first\\n{HOME}"}}'.encode()).decode(), "as it left"
    assert (found.journal_id, found.upto, found.more) == (journal.journal_id, 2, False)
    assert [bytes(one.data) for one in journal.unsent(100)] == before
    assert (await journal.name(asked(digests=[digest(KEY, NEVER)]), NAMES.of)).names == {}
    assert (await journal.name(asked(key="00" * 32), NAMES.of)).names == {}, "only under the key of the question"
    journal.close()


async def test_a_part_at_a_time_and_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_naming, "SPAN", 3)
    journal = SqliteJournal(tmp_path / "j.sqlite")
    for n in range(2):
        await journal.append(CallId(derive(1.0, "b", n)), events(1.0, NEVER, "x"))
    await journal.append(CallId(derive(1.0, "a")), events(1.0, PERSON, "x"))
    first = await journal.name(asked(), NAMES.of)
    assert (first.names, first.upto, first.more) == ({}, 3, True)
    last = await journal.name(asked(journal_id=first.journal_id, after=first.upto), NAMES.of)
    assert (last.names, last.upto, last.more) == ({DIGESTS[0]: NAMES.of(PERSON)}, 6, False)
    other = await journal.name(asked(journal_id="of a lost disk", after=6), NAMES.of)
    assert (other.upto, other.more) == (3, True), "another journal is gone through from its beginning"
    none = await journal.name(asked(digests=[], after=2), NAMES.of)
    assert (none.journal_id, none.more) == (journal.journal_id, False)
    journal.close()


async def test_a_live_call_is_named_and_goes_on(tmp_path: Path) -> None:
    """And a POP that tells numbers does not look through its journal."""
    async with World(tmp_path) as world:
        await world.call(PERSON)
        names = Pseudonyms(world.journal.secret())
        written, live = len(world.journal.unsent(1000)), set(world.pop.calls)
        assert live
        command = wire.CommandRequest(idempotency_key="k", deadline_at=world.clock() + 5, command=asked())
        said = (await world.pop.command(command)).named
        assert said is not None
        assert (said.names, said.upto) == ({}, 0)
        world.pop.desk = replace(world.pop.desk, pseudonyms=names)
        said = (await world.pop.command(command)).named
        assert said is not None
        assert said.names == {DIGESTS[0]: names.of(PERSON)}
        assert (len(world.journal.unsent(1000)), set(world.pop.calls)) == (written, live)
