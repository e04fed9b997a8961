"""A person's number taken out of facts and of a journal's file: nothing of it is left on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.journal import forgetting as file_forgetting
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.forgetting import ERASED, Forgotten, digest, forget, holds, replaced, without
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallbackId, CallId, LegId, QueueId, derive
from pbx.domain.last_agent import LastAgents
from pbx.wire.messages import ForgetNumber

KEY = bytes(range(32))
PERSON, OTHER, DID = "+4917012345678", "+4917012345679", E164("+49305550100")
FORMS = [PERSON, "4917012345678", "004917012345678", "017012345678"]
DIGESTS = [digest(KEY, form) for form in FORMS]
FORGOTTEN = Forgotten(KEY, DIGESTS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (PERSON, ERASED),
        ("sip:+4917012345678@carrier", "sip:erased@carrier"),
        ("017012345678", ERASED),
        ("0170123456789", "0170123456789"),  # longer
        ("1+4917012345678", "1+4917012345678"),
        ("a17012345678", "a17012345678"),
        (OTHER, OTHER),
        ("call 017012345678, then 017012345679", "call erased, then 017012345679"),
        ("017012345678.5", "017012345678.5"),
        ("017012345678.", "erased."),
    ],
)
def test_a_number_is_found_whole(text: str, wanted: str) -> None:
    assert without(text, FORGOTTEN) == wanted
    assert holds(text, FORGOTTEN) is (text != wanted)


def test_in_values_of_any_shape() -> None:
    value = {"a": [PERSON, OTHER, {"b": 4917012345678, "c": True, "d": 4917012345679, "e": 1.5, "f": None}]}
    assert replaced(value, FORGOTTEN) == {
        "a": [ERASED, OTHER, {"b": 0, "c": True, "d": 4917012345679, "e": 1.5, "f": None}]
    }


def test_what_was_keyed_in_and_looked_up_goes_only_with_the_person() -> None:
    digit = json.dumps({"at": 1.0, "leg_id": "leg", "digit": "7"}).encode()
    lookup = json.dumps({"at": 1.0, "values": {"name": "Ada", "phone": PERSON}}).encode()
    assert forget("DigitPressed", digit, FORGOTTEN, personal=False) is None
    assert json.loads(forget("DigitPressed", digit, FORGOTTEN, personal=True) or b"")["digit"] == "?"
    some = json.loads(forget("LookupEnded", lookup, FORGOTTEN, personal=False) or b"")
    assert some["values"] == {"name": "Ada", "phone": ERASED}
    assert json.loads(forget("LookupEnded", lookup, FORGOTTEN, personal=True) or b"")["values"] == {}


def asked(**change: Any) -> ForgetNumber:
    base: dict[str, Any] = {"erasure_id": "E", "key": KEY.hex(), "digests": DIGESTS, "before": 100.0}
    return ForgetNumber(**{**base, **change})


def a_call(name: str, cli: str, at: float = 1.0, *, over: bool = True) -> tuple[CallId, list[ev.Event]]:
    leg = LegId(f"leg-{name}")
    events: list[ev.Event] = [
        ev.LegOffered(at=at, leg_id=leg, did=DID, cli=cli_of(cli), caller_country="DE", trunk="t1"),
        ev.DigitPressed(at=at + 1, leg_id=leg, digit="4"),
        ev.LookupEnded(at=at + 2, lookup_id="l", error="", status=200, values={"iban": f"of {name}"}),
        ev.ForwardStarted(at=at + 3, leg_id=leg, number=E164(PERSON), kind="mobile", why="flow"),
    ]
    if over:
        end = ev.CallEnded(
            at=at + 9, ended_at=at + 9, reason=ev.EndReason.CALLER_HUNG_UP, cause=HangupCause.NORMAL_CLEARING
        )
        events.append(end)
    return CallId(derive(at, "call", name)), events


def contents(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


def values(journal: SqliteJournal, call: CallId) -> dict[str, dict[str, Any]]:
    return {one.kind: json.loads(bytes(one.data)) for one in journal.read_call(call)}


async def test_nothing_is_left_in_the_journals_file(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    (own, own_events), (others, others_events) = a_call("own", PERSON), a_call("others", OTHER)
    await journal.append(own, own_events)
    await journal.append(others, others_events)
    found = await journal.forget(asked())
    assert (list(found.calls), list(found.live), set(found.numbers)) == ([own], [], {PERSON})
    assert found.events == 5
    mine, theirs = values(journal, own), values(journal, others)
    assert mine["LegOffered"]["cli"]["number"] == ERASED
    assert (mine["DigitPressed"]["digit"], mine["LookupEnded"]["values"]) == ("?", {})
    assert theirs["LegOffered"]["cli"]["number"] == OTHER
    assert (theirs["DigitPressed"]["digit"], theirs["LookupEnded"]["values"]) == ("4", {"iban": "of others"})
    assert theirs["ForwardStarted"]["number"] == ERASED
    on_disk = contents(tmp_path)
    assert PERSON.encode() not in on_disk
    assert b"of own" not in on_disk
    assert OTHER.encode() in on_disk
    assert PERSON not in str(journal.unsent(100)), "nor is it sent"
    again = await journal.forget(asked())
    assert (again.events, again.calls) == (0, [own]), "asked again it says the same"
    journal.close()


async def test_live_calls_spared_ones_and_later_ones_keep_theirs(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.sqlite")
    live, live_events = a_call("live", PERSON, over=False)
    spared, spared_events = a_call("spared", PERSON)
    late, late_events = a_call("late", PERSON, 200.0)
    for call, events in ((live, live_events), (spared, spared_events), (late, late_events)):
        await journal.append(call, events)
    found = await journal.forget(asked(spared=[spared]))
    assert (found.events, found.calls, found.live) == (0, [live], [live])
    await journal.append(live, a_call("live", PERSON)[1][-1:])
    assert (await journal.forget(asked(spared=[spared]))).events == 4
    assert values(journal, spared)["LegOffered"]["cli"]["number"] == PERSON
    assert values(journal, late)["LegOffered"]["cli"]["number"] == PERSON
    assert (await journal.forget(asked(erasure_id="E2", call_ids=[late], before=300.0))).calls == [late], (
        "only this one"
    )
    assert values(journal, spared)["LegOffered"]["cli"]["number"] == PERSON
    journal.close()


async def test_whole_calls_and_closed_callbacks_lose_whatever_is_of_a_person(tmp_path: Path) -> None:
    """Retention names calls, not numbers: also of callers without one, and where the centre has pseudonyms."""
    journal = SqliteJournal(tmp_path / "j.sqlite")
    (nobody, first), (live, second), (spared, third), (kept, fourth), (person, fifth) = (
        a_call("nobody", "withheld"), a_call("live", OTHER, over=False), a_call("spared", "withheld"),
        a_call("kept", "withheld"), a_call("person", OTHER),
    )  # fmt: skip
    for call, happened in ((nobody, first), (live, second), (spared, third), (kept, fourth), (person, fifth)):
        await journal.append(call, happened)
    promises = [CallbackId(derive(1.0, "callback", name)) for name in ("closed", "other")]
    for promise in promises:
        made = ev.CallbackRequested(
            at=1.0, callback_id=promise, queue_id=QueueId("q"), number=E164(PERSON), did=DID, trunk="t1",
            language="de", entered_at=1.0, priority=0, needs=(), by="flow",
        )  # fmt: skip
        await journal.append(None, [made])
    calls = [nobody, live, spared, person]
    asks = asked(digests=[], call_ids=calls, spared=[spared], whole=True, callback_ids=promises[:1])
    found = await journal.forget(asks)
    assert (found.events, found.live) == (3 + 4 + 1, [])
    for call in (nobody, person):
        mine = values(journal, call)
        assert (mine["DigitPressed"]["digit"], mine["LookupEnded"]["values"]) == ("?", {})
        assert (mine["ForwardStarted"]["number"], mine["LegOffered"]["did"]) == (ERASED, DID)
    assert values(journal, person)["LegOffered"]["cli"]["number"] == ERASED
    for call in (live, spared, kept):
        assert values(journal, call)["DigitPressed"]["digit"] == "4"
    numbers = [json.loads(bytes(one.data))["number"] for one in journal.unsent(100) if one.kind == "CallbackRequested"]
    assert numbers == [ERASED, PERSON]
    assert (await journal.forget(asks)).events == 0
    journal.close()


async def test_interrupted_at_every_write_it_is_whole_when_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_forgetting, "PAGE", 2)
    write = file_forgetting._Search._write
    for stop in range(20):
        journal = SqliteJournal(tmp_path / f"j{stop}.sqlite")
        call, events = a_call("own", PERSON)
        await journal.append(call, events)
        left = [stop]

        def dying(self: Any, statement: str, rows: list[Any], left: list[int] = left) -> None:
            if rows and left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= bool(rows)
            write(self, statement, rows)

        monkeypatch.setattr(file_forgetting._Search, "_write", dying)
        try:
            await journal.forget(asked())
        except KeyboardInterrupt:
            pass
        else:
            assert stop > 2, "it was never interrupted"
            journal.close()
            return
        monkeypatch.setattr(file_forgetting._Search, "_write", write)
        assert (await journal.forget(asked())).calls == [call]
        mine = values(journal, call)
        assert (mine["DigitPressed"]["digit"], mine["LookupEnded"]["values"]) == ("?", {}), stop
        assert PERSON not in str(mine)
        journal.close()
    raise AssertionError("it writes more often than thought")


def test_nobody_served_a_forgotten_caller() -> None:
    from pbx.domain.ids import AgentId

    sales = QueueId("sales")
    served = LastAgents(b"secret")
    served.served(sales, PERSON, AgentId("ada"), 1.0)
    served.served(sales, OTHER, AgentId("bob"), 1.0)
    gone = served.forget([sales, QueueId("other")], [PERSON], 2.0)
    assert [one.agent_id for one in gone] == [None]
    assert served.who(sales, PERSON, 1.0, 2.0) is None
    assert served.who(sales, OTHER, 1.0, 2.0) == "bob"
