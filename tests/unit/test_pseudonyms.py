"""What leaves a strict region names nobody."""

from __future__ import annotations

import json

import pytest

from dialplans.pack import load_pack
from pbx.bootstrap import hides_numbers
from pbx.domain.pseudonyms import Pseudonyms
from pbx.wire.codec import decode_event

NUMBER, DID = "+79161234567", "+74951234567"
NAMES = Pseudonyms(b"secret")


def told(kind: str, **fields: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(NAMES.told(kind, json.dumps(fields).encode()))
    return found


def test_numbers_leave_as_keyed_hashes() -> None:
    cli = {"kind": "number", "number": NUMBER}
    fields = {"at": 1.0, "leg_id": "leg", "did": DID, "cli": cli, "caller_country": "RU", "trunk": "t1"}
    left = told("LegOffered", **fields)
    assert left["did"] == DID
    assert left["cli"] == {"kind": "number", "number": NAMES.of(NUMBER)}
    assert len(NAMES.of(NUMBER)) == len("~") + 15 <= 16, "it has the room of a number"
    assert decode_event("LegOffered", json.dumps(left).encode()) is not None, "and is read like one"
    assert NAMES.of(NUMBER) == Pseudonyms(b"secret").of(NUMBER) != Pseudonyms(b"other").of(NUMBER)
    assert NUMBER not in str(told("ForwardStarted", at=1.0, number=NUMBER, why="flow"))


def test_what_was_keyed_in_and_looked_up_stays() -> None:
    assert told("DigitPressed", at=1.0, leg_id="leg", digit="7")["digit"] == "?"
    assert told("LookupEnded", at=1.0, values={"name": "Ada"})["values"] == {}


def test_what_names_nobody_is_not_touched() -> None:
    data = b'{"at": 1790000000.25, "node": "hello"}'
    assert NAMES.told("NodeEntered", data) is data


@pytest.mark.parametrize(
    ("setting", "country", "hides"),
    [("auto", "RU", True), ("auto", "DE", False), ("on", "DE", True), ("off", "RU", False)],
)
def test_where_the_law_wants_data_to_stay(setting: str, country: str, hides: bool) -> None:
    assert hides_numbers(setting, load_pack(country)) is hides
