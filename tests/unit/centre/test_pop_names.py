"""What the centre remembers of POPs' names for numbers, and asks anew: against real journals, without a bus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.problems import PopRefused, PopUnreachable
from orchestrator.services.pop_names import PopNames
from orchestrator.services.rights_keys import RightsKeys
from orchestrator.services.secret_box import SecretBox
from pbx.adapters.journal import naming as file_naming
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.controller import naming
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.ids import CallId, LegId, derive
from pbx.domain.pseudonyms import Pseudonyms
from pbx.wire.messages import CommandReply, CommandRequest, NameNumbers

PERSON, OTHER = "+4917012345678", "+4917012345679"


class Pops:
    """The bus, as far as POPs answer to it. ``asked``: what was."""

    def __init__(self, directory: Path) -> None:
        self._directory, self.asked, self.journal = directory, list[NameNumbers](), SqliteJournal(directory / "1")
        self.refuses: CommandReply | None = None

    @property
    def pseudonyms(self) -> Pseudonyms:
        return Pseudonyms(self.journal.secret())

    def lose_disk(self) -> None:
        self.journal.close()
        self.journal = SqliteJournal(self._directory / "2")

    async def call(self, cli: str) -> None:
        leg = LegId("leg")
        did = E164("+49305550100")
        offered = ev.LegOffered(at=1.0, leg_id=leg, did=did, cli=cli_of(cli), caller_country="DE", trunk="t")
        await self.journal.append(
            CallId(derive(1.0, cli, len(self.asked))), [offered, ev.LegAnswered(at=1.0, leg_id=leg)]
        )

    async def request(self, pop_id: str, request: CommandRequest, timeout_s: float) -> CommandReply:
        if pop_id != "here":
            raise PopUnreachable(f"POP {pop_id} is not connected")
        assert isinstance(request.command, NameNumbers)
        assert time.time() <= request.deadline_at <= time.time() + timeout_s
        self.asked.append(request.command)
        return self.refuses or await naming.name(self.journal, request.command, self.pseudonyms)


@pytest.fixture
def pops(tmp_path: Path) -> Pops:
    return Pops(tmp_path)


def names_of(pops: Any) -> PopNames:
    return PopNames(pops, RightsKeys(SecretBox(bytes(32))))


async def test_a_number_is_told_by_digests_and_later_calls_are_found(pops: Pops) -> None:
    names = names_of(pops)
    await pops.call(OTHER)
    assert await names.of("here", [PERSON]) == {PERSON: frozenset()}
    assert PERSON[3:] not in str(pops.asked)
    await pops.call(PERSON)
    assert await names.of("here", [PERSON]) == {PERSON: frozenset({pops.pseudonyms.of(PERSON)})}
    assert [one.after for one in pops.asked] == [0, 2], "only what is new is gone through"
    assert await names.of("here", [PERSON, OTHER]) == {
        PERSON: frozenset({pops.pseudonyms.of(PERSON)}),
        OTHER: frozenset({pops.pseudonyms.of(OTHER)}),
    }
    assert pops.asked[-1].after == 0, "another number is looked for from the beginning"
    assert await names.of("here", []) == {}
    assert len(pops.asked) == 3


async def test_a_long_journal_is_gone_through_in_parts(pops: Pops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_naming, "SPAN", 3)
    for cli in (OTHER, OTHER, PERSON):
        await pops.call(cli)
    assert (await names_of(pops).of("here", [PERSON]))[PERSON] == {pops.pseudonyms.of(PERSON)}
    assert [one.after for one in pops.asked] == [0, 3]


async def test_a_pop_that_lost_its_disk_has_other_names(pops: Pops) -> None:
    names = names_of(pops)
    await pops.call(PERSON)
    former = (await names.of("here", [PERSON]))[PERSON]
    pops.lose_disk()
    await pops.call(PERSON)
    now = (await names.of("here", [PERSON]))[PERSON]
    assert now == {pops.pseudonyms.of(PERSON)}
    assert not now & former


async def test_who_did_not_say_is_named(pops: Pops) -> None:
    await pops.call(PERSON)
    heard = await names_of(pops).hear(["here", "away"], [PERSON])
    assert (heard.all, heard.silent) == ([pops.pseudonyms.of(PERSON)], {"away": "pop_unreachable"})
    for refusal, why in (("unknown_command", "pop_too_old"), ("not_named", "not_named")):
        pops.refuses = CommandReply(error_id=refusal)
        assert (await names_of(pops).hear(["here"], [PERSON])).silent == {"here": why}
        with pytest.raises(PopRefused):
            await names_of(pops).of("here", [PERSON])
