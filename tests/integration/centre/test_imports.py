"""DIDs and agents from a file: all of it or nothing, and every fault by line and field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from tests.integration.centre.support import Answer, Api, agent, did, outbox_is_empty, until

CSV, JSON_LINES = "text/csv", "application/x-ndjson"


async def sent(api: Api, path: str, text: str, kind: str = CSV, **headers: str) -> Answer:
    return await api.ask("POST", path, data=text.encode(), headers={"Content-Type": kind, **headers})


def lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def places(answer: Answer) -> list[tuple[int, str]]:
    return [(error["row"], error["field"]) for error in answer.body["errors"]]


DIDS = "number,pop_id,flow_id,country,language,time_zone,region\n"


def a_did(number: str, **change: str) -> str:
    return ",".join(str(value) for value in did(number=number, **change).values()) + "\n"


async def test_dids_come_from_csv_and_reach_their_pops(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    await until(lambda: outbox_is_empty(centre[0]))
    before = (await api.get("/pops/de-fra-1")).body["config_revision"]
    text = "\ufeff" + DIDS + "".join(a_did(f"+493055502{n:02}") for n in range(30))
    checked = await sent(api, "/dids/import?dry_run=true", text)
    assert (checked.status, checked.body) == (200, {"dry_run": True, "rows": 30, "items": []})
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before
    made = await sent(api, "/dids/import", text)
    assert (made.status, made.body["rows"], len(made.body["items"])) == (200, 30, 30)
    assert len((await api.get("/dids")).body["items"]) == 31
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before + 30
    await until(lambda: outbox_is_empty(centre[0]))
    assert (await api.get("/dids/+49305550229")).body == made.body["items"][-1]


async def test_one_bad_row_and_nothing_is_written(api: Api) -> None:
    await api.new_site()
    text = DIDS + "".join(
        [
            a_did("+49305550200"),
            a_did("030 1"),
            a_did("+49305550100"),
            a_did("+49305550200", pop_id="nowhere", flow_id="nothing"),
            a_did("+49305550201", language="fr", time_zone="Mars/Base"),
            a_did("+49305550202", language="fr"),
            "+49305550203,de-fra-1,main,DE,de,Europe/Berlin,eu,more\n",
            "+49305550204,de-fra-1\n",
        ]
    )
    for path in ("/dids/import", "/dids/import?dry_run=true"):
        refused = await sent(api, path, text)
        assert (refused.status, refused.error_id) == (422, "invalid")
        assert places(refused) == [
            (3, "number"),
            (4, "number"),
            (5, "flow_id"),
            (5, "number"),
            (5, "pop_id"),
            (6, "time_zone"),
            (7, "language"),
            (8, "row"),
            (9, "country"),
            (9, "flow_id"),
            (9, "language"),
            (9, "region"),
            (9, "time_zone"),
        ]
    assert [item["number"] for item in (await api.get("/dids")).body["items"]] == ["+49305550100"]


async def test_agents_come_with_their_passwords_once(api: Api) -> None:
    await api.new_pop()
    text = (
        "name,skills,country,pop_id,phone_id,extension,supervises,cost,shifts\n"
        'Ada,lang:de=5 sales=3,DE,de-fra-1,1001,101,true,23.5,"{""time_zone"": ""UTC"",\n'
        ' ""weekly"": {""mon"": [""09:00-17:00""]}}"\n'
        "\n"
        '"Bob, the second","{""lang:en"": 2}",GB,de-fra-1,,,,,\n'
    )
    key = {"Idempotency-Key": "import-1"}
    made = await sent(api, "/agents/import", text, **key)
    assert made.status == 200, made.body
    ada, bob = made.body["items"]
    assert ada["skills"] == {"lang:de": 5, "sales": 3}
    assert (ada["supervises"], ada["cost"], ada["shifts"]["weekly"]) == (True, 23.5, {"mon": ["09:00-17:00"]})
    assert (bob["name"], bob["skills"], bob["extension"]) == ("Bob, the second", {"lang:en": 2}, None)
    assert len({ada["sip"]["password"], bob["sip"]["password"]}) == 2
    assert (await sent(api, "/agents/import", text, **key)).body == made.body
    listed = (await api.get("/agents")).body["items"]
    assert {item["agent_id"] for item in listed} == {ada["agent_id"], bob["agent_id"]}
    assert ada["sip"]["password"] not in json.dumps(listed)


async def test_agents_that_clash_are_refused_by_line(api: Api) -> None:
    await api.new_pop()
    await api.made("/agents", agent(phone_id="1001", extension="101"))
    rows = [
        agent(phone_id="1001"),
        agent(phone_id="1002", extension="102"),
        agent(phone_id="1002", extension="102"),
        agent(extension="101"),
        agent(skills={"lang:de": 9}, colour="red"),
        agent(pop_id="nowhere"),
    ]
    text = lines(rows[:3]) + "\n\n" + lines(rows[3:]) + "\n[1]\n{"
    refused = await sent(api, "/agents/import", text, JSON_LINES)
    assert places(refused) == [
        (1, "phone_id"),
        (3, "extension"),
        (3, "phone_id"),
        (5, "extension"),
        (6, "colour"),
        (6, "skills.lang:de"),
        (7, "pop_id"),
        (8, "row"),
        (9, "row"),
    ]
    assert len((await api.get("/agents")).body["items"]) == 1


@pytest.mark.parametrize(
    ("text", "kind", "status", "place"),
    [
        ("", CSV, 422, (None, "file")),
        (DIDS, CSV, 422, (None, "file")),
        ("\n\n", JSON_LINES, 422, (None, "file")),
        ("number,colour\n1,2\n", CSV, 422, (1, "colour")),
        ("number,number\n1,2\n", CSV, 422, (1, "number")),
        ('number\n"1', CSV, 422, (2, "file")),
        ("number\n\0", CSV, 422, (None, "file")),
        ("x\n" * 10_002, JSON_LINES, 422, (None, "file")),
    ],
)
async def test_what_is_no_such_file_is_refused(
    api: Api, text: str, kind: str, status: int, place: tuple[int | None, str]
) -> None:
    answer = await sent(api, "/dids/import", text, kind)
    assert (answer.status, places(answer)) == (status, [place])


async def test_other_kinds_and_too_much_are_refused(api: Api) -> None:
    other = await sent(api, "/dids/import", "a", "application/json")
    assert (other.status, other.error_id) == (415, "unsupported_media_type")
    huge = await sent(api, "/dids/import", "x" * ((16 << 20) + 1))
    assert (huge.status, huge.error_id) == (413, "too_large")
    long_name = await api.post("/queues", {"queue_id": "q", "name": "x" * (1 << 20)})
    assert (long_name.status, long_name.error_id) == (413, "too_large")
    latin = await api.ask("POST", "/dids/import", data=b"\xff", headers={"Content-Type": CSV})
    assert latin.fields == {"file": "is not UTF-8 at byte 0"}


async def test_ten_thousand_numbers_at_once(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    rows = [did(number=f"+4930{n:07}") for n in range(9_000_000, 9_010_000)]
    made = await sent(api, "/dids/import", lines(rows), JSON_LINES)
    assert (made.status, made.body["rows"]) == (200, 10_000)
    again = await sent(api, "/dids/import", lines(rows), JSON_LINES)
    assert (again.status, len(again.body["errors"])) == (422, 500)
