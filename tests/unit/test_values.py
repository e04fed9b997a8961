"""Ids, numbers, causes, the events' JSON form."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain import events as ev
from pbx.domain.acd import Acd, ToCall
from pbx.domain.commands import JoinQueue
from pbx.domain.e164 import E164, UNKNOWN, WITHHELD, Cli, CliKind, cli_of, e164
from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause, cause_of, cause_of_sip, sip_status
from pbx.domain.ids import AgentId, CallId, LegId, OfferId, PopId, QueueId, RecordingId, derive, is_ulid, ulid
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Asked, Need
from pbx.domain.variables import Value
from pbx.wire.codec import decode_event, encode_event


@given(at=st.floats(0, 2e9), tail=st.integers(0, 2**80 - 1))
def test_ulids(at: float, tail: int) -> None:
    text = ulid(at, tail)
    assert is_ulid(text)
    assert ulid(at + 1, 0) > text


def test_the_ulid_of_the_specification() -> None:
    assert ulid(1469918176.385, 0)[:10] == "01ARYZ6S41"
    with pytest.raises(ValueError, match="48 bits"):
        ulid(-1, 0)


def test_derived_ids_are_the_same_for_the_same_parts() -> None:
    assert derive(5, "a", 1) == derive(5, "a", 1)
    assert len({derive(5, "a", 1), derive(5, "a", 2), derive(6, "a", 1), derive(5, "a1")}) == 4


@pytest.mark.parametrize(
    "text", ["", "030", "4930123456", "+0301234567", "+49 30 123456", "+49", "+" + "1" * 16, "+4930x"]
)
def test_what_is_not_e164_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"E\.164") as refused:
        e164(text, "did")
    assert refused.value.field == "did"
    assert cli_of(text) == UNKNOWN


def test_cli() -> None:
    assert cli_of("withheld") == WITHHELD
    assert cli_of("+4930123456") == Cli(CliKind.NUMBER, e164("+4930123456"))
    with pytest.raises(ValueError, match="exactly when"):
        Cli(CliKind.WITHHELD, e164("+4930123456"))


def test_causes() -> None:
    assert cause_of(17) is HangupCause.USER_BUSY
    assert cause_of(99) is HangupCause.NORMAL_UNSPECIFIED
    assert all(400 <= sip_status(cause) < 700 for cause in HangupCause)
    assert cause_of_sip(486) is HangupCause.USER_BUSY
    assert cause_of_sip(499) is HangupCause.INTERWORKING


ASKED = Asked(QueueId("q"), 1.5, 2, (Need("de", 3, ((5.0, "en", 1),)),), AgentId("ada"), 9.0, 4.0, tried=1, again=True)


@pytest.mark.parametrize("kind", ev.BY_NAME.values(), ids=lambda kind: kind.__name__)
def test_every_event_survives_its_json(kind: type[ev.Event]) -> None:
    hints = typing.get_type_hints(kind)
    samples: dict[object, object] = {
        str: "text", float: 1.5, int: 7, bool: True, tuple[str, ...]: ("a", "b"), Cli: cli_of("+4930123456"),
        HangupCause: HangupCause.USER_BUSY, ev.OfferOutcome: ev.OfferOutcome.BUSY,
        ev.EndReason: ev.EndReason.ASKED, str | None: None, ev.Supervision: ev.Supervision.BARGE,
        ev.ConsultStep: ev.ConsultStep.SWAP, E164 | None: e164("+4930123456"), LegId | None: "leg",
        QueueId | None: "support", AgentId | None: None, float | None: 1.5, CallId | None: "call",
        HangupCause | None: HangupCause.NO_ANSWER, OfferId | None: "offer", RecordingId | None: "recording",
        PopId | None: "pl-1",
        tuple[Need, ...]: (Need("lang:de", 3, ((30.0, "lang:en", 2),)),),
        Asked | None: ASKED, Asked: ASKED,
        dict[str, Value]: {"name": "Ada", "age": 36, "balance": 1.5, "vip": True},
    }  # fmt: skip

    def sample(hint: object) -> object:
        base = getattr(hint, "__supertype__", hint)
        if base not in samples and typing.get_origin(base) is tuple:
            return ("a", "b")
        return samples[base]

    fields: dict[str, typing.Any] = {field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)}
    event = kind(**fields)
    assert decode_event(kind.__name__, encode_event(event)) == event


def test_a_kind_from_the_future_is_passed_over() -> None:
    assert decode_event("CallTeleported", b"{}") is None


def test_what_a_call_asks_of_its_queue_holds_no_number() -> None:
    """It stands in QueueJoined, in the journal and at the centre: no number may come there."""
    hints = typing.get_type_hints(Asked)
    assert [name for name, hint in hints.items() if "E164" in str(hint) or "Cli" in str(hint)] == []
    caller, tried = e164("+4930123456"), e164("+4989765432")
    acd, queue = Acd(), Queue(queue_id=QueueId("q"), requirement=frozenset(), last_agent_s=20.0)
    join = JoinQueue(queue.queue_id, 1.0, caller=caller, tried=(tried,))
    decisions = acd.handle(CallId("refused"), join, 1.0) + acd.put_queue(queue, 1.0)
    decisions += acd.handle(CallId("joined"), join, 1.0)
    told = [decision.event for decision in decisions if isinstance(decision, ToCall)]
    assert [type(event) for event in told] == [ev.QueueRefused, ev.QueueJoined]
    for event in told:
        written = encode_event(event).decode()
        assert '"tried":1' in written
        assert caller[1:] not in written
        assert tried[1:] not in written
