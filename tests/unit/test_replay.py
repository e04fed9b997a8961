"""A journal run again gives the same decisions; other rules give others; what cannot be replayed is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pbx.domain import commands as cmd
from pbx.domain import waits
from pbx.domain.ids import CallId, QueueId
from pbx.domain.service_level import End
from pbx.domain.sorted_blocks import Place
from pbx.simulation.replay import replay
from pbx.simulation.replay_cli import main
from pbx.simulation.replay_observed import Wait
from pbx.simulation.replay_read import UnusableJournal, read
from pbx.simulation.replay_usual import Patience
from pbx.simulation.virtual_time import VirtualTimeLoop
from tests.support.busy import AGENTS, busy, killed, world_of


async def _hours(directory: Path, seed: int, calls: int = 200) -> Path:
    """A controller that dies with calls in all states, and the one that follows it."""
    directory.mkdir()  # noqa: ASYNC240
    async with world_of(directory) as world:
        hour = asyncio.create_task(busy(world, calls, seed))
        await world.run(2.0 * calls)
        again = killed(world, directory / "again")
        await hour
    async with world_of(again) as world:
        await busy(world, calls, seed + 100)
    return again / "journal.sqlite"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_hours(tmp_path_factory.mktemp("replay") / "first", 1))


@pytest.fixture
def journal(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recorded, tmp_path / "journal.sqlite"))


def _change(journal: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(journal) as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


@pytest.mark.long
async def test_busy_times_with_killed_controllers_replay_to_the_same_decisions(tmp_path: Path) -> None:
    decided: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in (2, 4, 5):
        journal = read(await _hours(tmp_path / str(seed), seed))
        report = replay(journal)
        assert report.difference is None
        assert report.runs == 2
        kinds = [type(row.event).__name__ for run in journal.runs for rows in run.decisions.values() for row in rows]
        assert len(kinds) == report.decisions
        decided.update(kinds)
        outcomes.update(outcome.value for run in journal.runs for outcome in run.outcomes.values())
    assert decided["OfferMade"] > 350
    assert all(decided[kind] > 2 for kind in ("OfferWithdrawn", "QueueRefused", "QueueOverflowed", "WaitEnded"))
    assert all(outcomes[one] > 2 for one in ("answered", "no_answer", "busy", "rejected", "caller_gone", "withdrawn"))


def test_another_order_of_priority_is_a_difference(monkeypatch: pytest.MonkeyPatch, journal: Path) -> None:
    def by_age(priority: int, entered_at: float, call_id: CallId) -> Place:
        return (entered_at, call_id)

    assert replay(read(journal)).difference is None
    monkeypatch.setattr(waits, "place_of", by_age)
    difference = replay(read(journal)).difference
    assert difference is not None
    assert difference.seq > 0


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("OfferMade", "$.epoch", 99),
        ("OfferMade", "$.agent_id", "agent77"),
        ("QueueOverflowed", "$.queue_id", "third"),
        ("WaitEnded", "$.reason", "prompt"),
        ("AgentChanged", "$.agent_id", "agent77"),
        ("PhoneReachable", "$.reachable", False),
    ],
)
def test_what_was_decided_otherwise_is_named_with_its_place(
    journal: Path, capsys: pytest.CaptureFixture[str], kind: str, field: str, value: object
) -> None:
    [(seq,)] = sqlite3.connect(journal).execute(
        "SELECT seq FROM events WHERE kind = ? ORDER BY seq LIMIT 1 OFFSET 5", (kind,)
    )
    _change(
        journal,
        "UPDATE events SET data = CAST(json_set(CAST(data AS TEXT), ?, json(?)) AS BLOB) WHERE seq = ?",
        field,
        json.dumps(value),
        seq,
    )
    assert main([str(journal), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["same"] is False
    assert said["difference"]["seq"] == seq or kind == "PhoneReachable"


def test_a_lost_offer_is_a_difference(journal: Path) -> None:
    _change(journal, "DELETE FROM events WHERE seq = (SELECT min(seq) FROM events WHERE kind = 'OfferMade')")
    assert replay(read(journal)).difference is not None


def test_the_command_says_how_much_was_the_same(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(journal), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["same"] is True
    assert said["decisions"] > said["offers"] > 120
    assert main([str(journal)]) == 0
    assert f"{said['decisions']} decisions" in " ".join(capsys.readouterr().out.split())


def test_part_of_the_time(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = [row.at for run in read(journal).runs for row in run.rows]
    middle = (at[0] + at[-1]) / 2
    numbers = []
    for limits in ([], ["--from", str(middle)], ["--to", str(middle)]):
        assert main([str(journal), "--json", *limits]) == 0
        numbers.append(json.loads(capsys.readouterr().out)["decisions"])
    assert numbers[0] == numbers[1] + numbers[2]
    assert min(numbers) > 50


def _torn(journal: Path) -> None:
    _change(journal, "UPDATE events SET data = substr(data, 1, 20) WHERE seq = 400")
    _change(journal, "UPDATE events SET kind = 'AgentChanged', call_id = NULL WHERE seq = 400")


def _without_asked(journal: Path) -> None:
    _change(
        journal,
        "UPDATE events SET data = CAST(json_remove(CAST(data AS TEXT), '$.asked') AS BLOB) WHERE kind = 'QueueJoined'",
    )


def _without_history(journal: Path) -> None:
    _change(journal, "DELETE FROM config_history")


def _bad_history(journal: Path) -> None:
    _change(journal, "UPDATE config_history SET entry = CAST('{}' AS BLOB) WHERE key = 'queue.second'")


def _no_database(journal: Path) -> None:
    journal.write_bytes(b"not a database" * 100)


def _gone(journal: Path) -> None:
    journal.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_torn, r"event 400 \(AgentChanged\) cannot be read"),
        (_without_asked, "does not say what the call asked"),
        (_without_history, "no history of its configuration"),
        (_bad_history, "configuration queue.second after event .* cannot be read"),
        (_no_database, "cannot be replayed"),
        (_gone, "is not a file"),
    ],
)
def test_a_journal_that_cannot_be_replayed_is_refused(
    journal: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], said: str
) -> None:
    harm(journal)
    with pytest.raises(UnusableJournal, match=said):
        read(journal)
    assert main([str(journal)]) == 2
    assert capsys.readouterr().err


def test_events_of_a_newer_version_are_skipped_and_said(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _change(journal, "UPDATE events SET kind = 'HoloCallOffered' WHERE kind = 'LegOffered'")
    assert main([str(journal)]) == 0
    assert "HoloCallOffered" in capsys.readouterr().out


# --- other rules ----------------------------------------------------------------------------------------------------


def _compared(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: object, kind: str = "queues"
) -> dict[str, Any]:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    assert main([str(journal), f"--{kind}", str(file), "--json"]) == 0
    return {row["queue_id"]: row for row in json.loads(capsys.readouterr().out)["queues"]}


def test_rules_that_change_nothing_change_nothing(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _compared(journal, tmp_path, capsys, {"support": {"name": "Another name"}})
    assert rows.keys() == {"support", "second"}
    for row in rows.values():
        assert row["before"] == row["after"]
        assert row["occupancy_before"] == row["occupancy_after"]
        assert 0.3 < row["occupancy_before"] <= 1.0
        assert row["recorded"]["offered"] == pytest.approx(row["before"]["offered"], rel=0.1)


def test_a_queue_that_more_agents_can_serve_answers_more(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = _compared(journal, tmp_path, capsys, {"support": {"skills": {"support": 1}, "wrap_up_s": 0}})["support"]
    assert row["after"]["answered"] > row["before"]["answered"]
    assert row["after"]["service_level"] > row["before"]["service_level"] + 0.1
    assert row["after"]["asa_s"] < row["before"]["asa_s"]


def test_a_short_queue_refuses(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = _compared(journal, tmp_path, capsys, {"support": {"max_waiting": 1}})["support"]
    assert row["after"]["refused"] > row["before"]["refused"] + 20


def test_agents_who_serve_one_queue_alone_take_more_of_its_calls(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {name: {"skills": {"support": 5}} for name in AGENTS}
    rows = _compared(journal, tmp_path, capsys, alone, kind="agents")
    assert rows["support"]["after"]["answered"] > rows["support"]["before"]["answered"] + 5


def test_table_and_picture(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "rules.yml", tmp_path / "rules.svg"
    file.write_text("second: {max_wait_s: 10}\n")
    assert main([str(journal), "--queues", str(file), "--svg", str(picture)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("second", "support", "service level", "ASA", "occupancy", "longest wait"))
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")  # noqa: S314


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("queues", "third: {priority: 1}", "queue third: is not in this journal"),
        ("queues", "support: {colour: red}", "colour is not a setting"),
        ("queues", "support: {wrap_up_s: long}", "queue support"),
        ("queues", "support: {strategy: nobody}", "strategy"),
        ("queues", "- support", "must hold queue ids"),
        ("agents", "agent0: {ha1: x}", "ha1 is not a setting"),
    ],
)
def test_rules_that_cannot_be_are_refused(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, text: str, said: str
) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(text)
    assert main([str(journal), f"--{kind}", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_patience_of_those_who_were_answered_is_longer_than_their_wait() -> None:
    join = cmd.JoinQueue(QueueId("q"), 0.0)

    def wait(waited_s: float, end: End) -> Wait:
        return Wait(CallId("c"), join, 0.0, waited_s, end)

    # By hand: at 10 one of 4 left, 3/4 stay; at 20 one is censored; at 30 one of 2, 3/8 stay; at 40 one censored.
    seen = [wait(10, End.ABANDONED), wait(20, End.ANSWERED), wait(30, End.ABANDONED), wait(40, End.ANSWERED)]
    patience = Patience(seen)
    assert patience.after(0, 0.1) == 10
    assert patience.after(0, 0.5) == 30
    assert patience.after(0, 0.9) is None
    assert patience.after(20, 0.4) == 30
    assert patience.after(20, 0.6) is None
    assert patience.after(30, 0.1) is None


# --- why --------------------------------------------------------------------------------------------------------------


def test_why_a_call_waited_and_who_got_it(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(journal) as db:
        joined = "SELECT call_id FROM events WHERE kind = 'QueueJoined'"
        offered = (
            "SELECT call_id, json_extract(CAST(data AS TEXT), '$.agent_id'), json_extract(CAST(data AS TEXT), '$.at')"
        )
        rows = db.execute(f"{offered} FROM events WHERE kind = 'OfferMade' AND call_id IN ({joined})").fetchall()
    db.close()
    calls = Counter(call for call, _, _ in rows)
    call_id, offers = calls.most_common(1)[0]
    assert offers > 1
    assert main([str(journal), "--why", call_id, "--json"]) == 0
    why = json.loads(capsys.readouterr().out)["why"]
    chosen = [(one["choice"]["agent_id"], one["at"]) for one in why if "choice" in one]
    assert chosen == [(agent, at) for call, agent, at in rows if call == call_id]
    assert all(one["choice"]["asked_by"] in ("call", "agent") for one in why if "choice" in one)
    waits = [one["wait"] for one in why if "wait" in one]
    assert waits
    assert all(wait["reasons"] for wait in waits)
    assert main([str(journal), "--why", call_id]) == 0
    said = capsys.readouterr().out
    assert said.count("offer ") == offers
    assert "joined" in said


def test_why_of_a_call_that_never_waited(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(journal), "--why", "nobody"]) == 2
    assert "no such call waited" in capsys.readouterr().err
