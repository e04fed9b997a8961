"""``callplane`` against a running centre: every noun, every verb, every way to be refused."""

from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.command_line.noun import parameters
from orchestrator.command_line.nouns import NOUNS
from tests.integration.centre.access_world import SHARED, WEEK, World, make_world
from tests.integration.centre.support import QUEUE, Api, agent, did, graph
from tests.integration.centre.terminal import Terminal
from tests.support.ports import free_port


@pytest.fixture
async def world(api: Api, centre: tuple[Centre, str]) -> World:
    return await make_world(api, centre[0])


async def ids_of(world: World, terminal: Terminal) -> dict[str, str]:
    """A path's parameter -> something that is there."""
    made = await world.api.made("/webhooks", {"url": "https://example.org/", "events": ["CallEnded"]})
    someone = {"login": "ada", "name": "Ada", "grants": [{"role": "admin"}], "password": "a long password"}
    user = await world.api.made("/users", someone)
    return {
        **world.places["sales", "eu"].ids,
        **SHARED,
        "webhook_id": made["webhook_id"],
        "user_id": user["user_id"],
    }


async def test_every_list_and_every_resource_as_table_and_as_the_apis_own_json(
    world: World, terminal: Terminal
) -> None:
    ids = await ids_of(world, terminal)
    for noun in NOUNS.values():
        if noun.columns:
            where = [ids[name] for name in parameters(noun.every)]
            path = noun.every.format_map(ids)
            table = await terminal.done(noun.name, noun.listed, *where)
            assert [column.title for column in noun.columns] == [
                title for title in map(str.strip, table.out.splitlines()[0].split("  ")) if title
            ]
            assert "…" not in table.out
            assert "\x1b" not in table.out
            plain = await terminal.done(noun.name, noun.listed, *where, "--json")
            if noun.name not in ("audit", "waiting"):  # the one grows by asking, the other asks POPs that are away
                answer = await world.api.session.get(f"/api/v1{path}")
                if noun.name not in ("pops", "tokens"):
                    assert plain.out.encode().rstrip(b"\n") == await answer.read()
                assert len(table.rows) == len(plain.json["items"]) > 0 or noun.name == "hours", noun.name
        if "show" in noun.verbs and noun.one is not None:
            where = [ids[name] for name in parameters(noun.one)]
            shown = await terminal.done(noun.name, "show", *where)
            assert where[-1] in shown.out
            plain = await terminal.done(noun.name, "show", *where, "--json")
            assert str(where[-1]) in json.dumps(plain.json)


async def test_resources_are_made_changed_and_deleted(api: Api, terminal: Terminal) -> None:
    made = await terminal.done(
        "pops", "create", "--set", "pop_id=de-fra-1", "--set", "name=Frankfurt", "--set", "country=DE"
    )
    assert "key is shown only now" in made.err
    key = next(line.split()[1] for line in made.out.splitlines() if line.startswith("key "))
    assert key not in (await terminal.done("pops", "show", "de-fra-1")).out
    changed = await terminal.done("pops", "update", "de-fra-1", "--set", "name=Frankfurt am Main", "--json")
    assert (changed.json["name"], changed.json["country"]) == ("Frankfurt am Main", "DE")
    again = await terminal.done("pops", "key", "de-fra-1", "--json")
    assert again.json["key"] != key

    queue = json.dumps(QUEUE)
    await terminal.done("queues", "create", "--file", "-", "--set", "priority=3", stdin=queue)
    changed = await terminal.done("queues", "update", "sales", "--set", "skills.lang:fr=2", "--json")
    assert (changed.json["skills"], changed.json["priority"]) == ({"lang:de": 3, "lang:fr": 2}, 3)

    file = terminal.home / "agent.yml"
    file.write_text("name: Ada\nskills: {lang:de: 5}\ncountry: DE\npop_id: de-fra-1\nphone_id: '1001'\n")
    made = await terminal.done("agents", "create", "--file", str(file), "--json")
    assert made.json["sip"]["password"]
    changed = await terminal.done("agents", "update", made.json["agent_id"], "--set", "extension=101", "--json")
    assert (changed.json["extension"], changed.json["skills"]) == ("101", {"lang:de": 5})
    password = await terminal.done("agents", "password", made.json["agent_id"])
    assert "sip.password is shown only now" in password.err

    listed = await terminal.done("agents", "--skill", "lang:de", "--pop", "de-fra-1")
    assert "1001" in listed.out
    assert (await terminal.done("agents", "list", "--site", "nowhere")).err == "there are none\n"
    assert (await terminal.done("agents", "delete", made.json["agent_id"])).out == "deleted\n"
    assert (await api.get("/agents")).body["items"] == []

    for noun, spec in (
        ("units", {"unit_id": "sales", "name": "Sales"}),
        ("regions", {"region_id": "eu", "name": "Europe"}),
        ("skills", {"skill_id": "lang:it", "name": "Italian"}),
        ("hours", {"hours_id": "office", "name": "Office", **WEEK}),
        ("shifts", {"shifts_id": "early", "name": "Early", **WEEK}),
        ("holidays", {"holidays_id": "bridge", "name": "Bridge days", "days": ["2026-12-24"]}),
    ):
        name = str(next(iter(spec.values())))
        await terminal.done(noun, "create", "--file", "-", stdin=json.dumps(spec))
        await terminal.done(noun, "update", name, "--set", "name=Another")
        assert "Another" in (await terminal.done(noun)).out
    await terminal.done("units", "delete", "sales")
    fields = (await terminal.done("queues", "fields")).out
    assert "strategy" in fields
    assert "longest_idle or least_occupied" in fields


async def test_what_was_changed_meanwhile_is_not_overwritten(
    api: Api, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.made("/queues", QUEUE)
    etag = (await api.get("/queues/sales")).headers["ETag"]
    await terminal.done("queues", "update", "sales", "--set", "priority=1", "--if-match", etag)
    stale = await terminal("queues", "update", "sales", "--set", "priority=2", "--if-match", etag)
    assert stale.code == 1
    assert "Changed meanwhile" in stale.err
    assert "-> read it again" in stale.err
    assert (await terminal("queues", "delete", "sales", "--if-match", etag)).code == 1

    editor = terminal.home / "editor.py"
    editor.write_text(EDITOR.format(url=f"{terminal.url}/api/v1/queues/sales", token=terminal.token, queue=QUEUE))
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor} alone")
    edited = await terminal.done("queues", "edit", "sales", "--json")
    assert edited.json["priority"] == 7
    assert (await terminal.done("queues", "edit", "sales")).err == "nothing has been changed\n"
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor} race")
    await terminal.done("queues", "update", "sales", "--set", "priority=1")
    stale = await terminal("queues", "edit", "sales")
    assert (stale.code, "Changed meanwhile" in stale.err) == (1, True)
    kept = stale.err.splitlines()[0].removeprefix("what you wrote is in ")
    assert "priority: 7" in contents(kept)
    assert (await api.get("/queues/sales")).body["priority"] == 9
    monkeypatch.setenv("VISUAL", "false")
    assert (await terminal("queues", "edit", "sales")).code == 1
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert (await terminal("queues", "edit", "sales")).code == 2


def contents(name: str) -> str:
    """Of a file that nobody needs afterwards."""
    text = Path(name).read_text()
    Path(name).unlink()
    return text


EDITOR = """
import json, pathlib, sys, threading, urllib.request
file = pathlib.Path(sys.argv[-1])
file.write_text(file.read_text().replace("priority: 1\\n", "priority: 7\\n"))
if sys.argv[1] == "race":
    body = dict({queue!r}, priority=9)
    del body["queue_id"]
    head = {{"Authorization": "Bearer {token}", "Content-Type": "application/json"}}
    asked = urllib.request.Request("{url}", json.dumps(body).encode(), head, method="PUT")
    urllib.request.urlopen(asked, timeout=20).read()
"""
"""Changes the file; in mode ``race`` somebody else changes the queue meanwhile."""


async def test_what_is_refused_is_told_field_by_field_with_advice(api: Api, terminal: Terminal) -> None:
    await api.new_site()
    wrong = await terminal("queues", "create", "--set", "queue_id=Bad Id", "--set", "name=X", "--set", "colour=red")
    assert wrong.code == 1
    lines = wrong.err.splitlines()
    assert lines[0] == "callplane queues: Invalid"
    assert "  colour: is not known here" in lines
    assert any(line.startswith("  queue_id: ") for line in lines)
    assert lines[-1] == "  -> 'callplane queues fields' names the fields and what they may hold"
    gone = await terminal("queues", "show", "nothing")
    assert gone.err.splitlines() == [
        "callplane queues: Not found: there is no queue nothing",
        "  -> 'callplane queues' lists those that you may see",
    ]
    used = await terminal("queues", "delete", "sales")
    assert (used.code, "in use by" in used.err) == (1, True)
    unknown = await terminal("api", "GET", "/nothing")
    assert (unknown.code, "older or newer" in unknown.err) == (1, True)
    assert (await terminal("queues", "list", "--cursor", "rubbish")).code == 1
    assert (await terminal("queues", "list", "--limit", "0")).code == 1
    assert (await terminal("pops", "show", "de-fra-1", "--json")).json["pop_id"] == "de-fra-1"


async def test_wrong_use_ends_with_2_before_anything_is_asked(terminal: Terminal) -> None:
    terminal.setenv(CALLPLANE_URL=f"http://127.0.0.1:{free_port()}")
    for words in (
        ("queues", "explode"),
        ("queues", "show"),
        ("queues", "list", "--colour", "red"),
        ("queues", "list", "--timeout", "soon"),
        ("agents", "status", "a", "ASLEEP"),
        ("recordings", "download", "r"),
        ("pops", "list", "--purpose", "two\nlines"),
        ("pops", "list", "--ca-file", "/no/such/file", "--url", "https://127.0.0.1:1"),
        ("pops", "list", "--token-file", "/no/such/file"),
        ("pops", "list", "--url", "ftp://centre"),
        ("pops", "list", "--url", "http://centre.example"),
        ("import", "dids", "numbers.txt"),
        ("import", "queues", "queues.csv"),
        ("api", "GET", "queues"),
    ):
        said = await terminal(*words)
        assert said.code == 2, (words, said)
        assert said.err


async def test_who_is_not_there_is_3_and_who_has_no_token_is_told_what_to_do(terminal: Terminal) -> None:
    port = free_port()
    away = await terminal("pops", "list", "--url", f"http://127.0.0.1:{port}")
    assert away.code == 3
    assert away.err.splitlines()[0].startswith(f"callplane pops: http://127.0.0.1:{port} does not answer: Connect call")
    assert (await terminal("calls", "--follow", "--url", f"http://127.0.0.1:{port}")).code == 3
    terminal.setenv(CALLPLANE_TOKEN="cpt_wrong")
    wrong = await terminal("pops", "list")
    assert wrong.code == 1
    assert "the bearer token is not known" in wrong.err
    assert "log in with 'callplane login URL'" in wrong.err
    assert "cpt_wrong" not in wrong.err
    terminal.setenv(CALLPLANE_TOKEN=None)
    assert (await terminal("pops", "list")).code == 1
    file = terminal.home / "token"
    file.write_text(terminal.token + "\n")
    terminal.setenv(CALLPLANE_TOKEN_FILE=str(file))
    await terminal.done("pops", "list")


async def test_a_login_is_kept_for_this_user_alone(api: Api, terminal: Terminal) -> None:
    terminal.setenv(CALLPLANE_URL=None, CALLPLANE_TOKEN=None)
    kept = terminal.home / ".config" / "callplane" / "login.json"
    assert (await terminal("login", terminal.url, stdin="cpt_wrong\n")).code == 1
    assert not kept.exists()
    said = await terminal.done("login", terminal.url + "/api/v1/", stdin=terminal.token + "\n")
    assert said.out.startswith(f"{terminal.url}: ")
    assert terminal.token not in said.out + said.err
    assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(kept.parent.stat().st_mode)) == (0o600, 0o700)
    assert terminal.url in (await terminal.done("whoami")).out
    me = await terminal.done("whoami", "--json")
    assert me.json["grants"][0]["role"] == "admin"
    elsewhere = f"http://127.0.0.1:{free_port()}"
    other = await terminal("whoami", "--url", elsewhere)
    assert (other.code, f"no token for {elsewhere}" in other.err) == (1, True), "the token is of that centre alone"
    kept.chmod(0o644)
    assert "can be read by others" in (await terminal("whoami")).err
    kept.chmod(0o600)
    terminal.setenv(CALLPLANE_TOKEN="cpt_other")
    assert (await terminal("whoami")).code == 1, "the environment goes before what is stored"
    terminal.setenv(CALLPLANE_TOKEN=None)
    assert (await terminal.done("logout")).out == f"logged out of {terminal.url}\n"
    assert not kept.exists()
    assert (await api.get("/session")).status == 200, "a program's token goes on"
    assert (await terminal.done("logout")).err == "nobody is logged in\n"


async def test_a_session_begins_with_a_password_and_ends_with_logout(api: Api, terminal: Terminal) -> None:
    someone = {"login": "ada", "name": "Ada", "grants": [{"role": "supervisor"}], "password": "a long password"}
    await api.made("/users", someone)
    terminal.setenv(CALLPLANE_URL=None, CALLPLANE_TOKEN=None)
    assert (await terminal("login", terminal.url, "--user", "ada", stdin="not the password\n")).code == 1
    said = await terminal.done("login", terminal.url, "--user", "ada", stdin="a long password\n")
    assert "Ada (supervisor)" in said.out
    kept = json.loads((terminal.home / ".config" / "callplane" / "login.json").read_text())
    assert (await terminal("users")).code == 1, "a supervisor sees no users"
    await terminal.done("logout")
    ended = await api.session.get("/api/v1/session", headers={"Authorization": f"Bearer {kept['token']}"})
    assert ended.status == 401


HOOK_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


async def test_secrets_are_not_given_in_arguments(api: Api, terminal: Terminal) -> None:
    words = ("users", "create", "--set", "login=ada", "--set", "name=Ada", "--set", "grants=[{role: admin}]")
    told = await terminal(*words, "--set", "password=in plain sight")
    assert told.code == 2
    assert "--secret-file password=FILE" in told.err
    file = terminal.home / "secret"
    file.write_text("a long password\n")
    made = await terminal.done(*words, "--secret-file", f"password={file}", "--json")
    changed = await terminal.done(
        "users", "update", made.json["user_id"], "--ask", "password", stdin="another password\n"
    )
    assert "another password" not in changed.out
    assert (await api.post("/login", {"login": "ada", "password": "another password"})).status == 200
    token = await terminal.done(
        "tokens", "create", "--set", "name=wall", "--set", "grants=[{role: supervisor, regions: [eu]}]"
    )
    assert "token is shown only now" in token.err
    listed = await terminal.done("tokens", "--name", "wall", "--json")
    assert "supervisor(eu)" in (await terminal.done("tokens")).out
    assert (await terminal.done("tokens", "delete", listed.json["items"][0]["token_id"])).out == "deleted\n"
    hook = ("webhooks", "create", "--set", "url=https://example.org/", "--set", "events=[CallEnded]")
    made = await terminal.done(*hook, "--secret-file", "secret=-", "--json", stdin=HOOK_SECRET + "\n")
    assert made.json["secret"] == HOOK_SECRET
    renewed = await terminal.done("webhooks", "secret", made.json["webhook_id"], "--json")
    assert renewed.json["secret"] != made.json["secret"]
    await api.new_pop()
    trunk = ("trunks", "create", "de-fra-1", "--set", "name=carrier", "--set", "username=cp")
    assert (await terminal(*trunk, "--set", "password=12345678")).code == 2
    await terminal.done(*trunk, "--secret-file", "password=-", stdin="12345678\n")
    shown = await terminal.done("trunks", "update", "de-fra-1", "carrier", "--set", "codecs=[alaw]")
    assert "has_password  yes" in " ".join(shown.out.split("\n")).replace("   ", "  ")
    assert "12345678" in (await terminal.done("pops", "dialplan", "de-fra-1")).out


async def test_flows_go_from_a_file_to_the_pops_and_back(api: Api, terminal: Terminal) -> None:
    await api.made("/queues", QUEUE)
    file = terminal.home / "main.yml"
    file.write_text(json.dumps({"graph": graph(start="nowhere")}))
    saved = await terminal.done("flows", "draft", "main", str(file))
    assert "graph.start" in saved.out
    assert (await terminal("flows", "check", "main", str(file))).code == 1
    assert (await terminal("flows", "publish", "main")).code == 1
    stale = await terminal("flows", "draft", "main", str(file))
    assert (stale.code, "--revision" in stale.err) == (1, True)
    file.write_text(json.dumps(graph()))
    assert (await terminal.done("flows", "check", "main", str(file))).out == "it can be published\n"
    await terminal.done("flows", "draft", "main", str(file), "--revision", "1")
    assert "main" in (await terminal.done("flows", "drafts")).out
    drafted = await terminal.done("flows", "graph", "main", "--draft", "--json")
    assert drafted.json == graph()
    published = await terminal.done("flows", "publish", "main", "--json")
    assert (published.json["version"], published.json["graph"]) == (1, graph())
    yaml = (await terminal.done("flows", "graph", "main")).out
    second = yaml.replace("- hello", "- queue-welcome")
    assert second != yaml
    published = await terminal.done("flows", "publish", "main", "-", "--json", stdin=second)
    assert (published.json["version"], published.json["graph"]["nodes"]["hello"]["prompts"]) == (2, ["queue-welcome"])
    restored = await terminal.done("flows", "rollback", "main", "1", "--json")
    assert (restored.json["version"], restored.json["copy_of"]) == (3, 1)
    versions = await terminal.done("flows", "versions", "main")
    assert [row[0] for row in versions.rows] == ["3", "2", "1"]
    assert (await terminal.done("flows", "graph", "main", "--version", "2")).out == second
    await terminal.done("flows", "draft", "main", str(file))
    assert (await terminal.done("flows", "discard", "main")).out == "the draft is gone\n"
    await terminal.done("flows", "delete", "main")
    assert (await api.get("/flows")).body["items"] == []


DIDS = "number,pop_id,flow_id,country,language,time_zone,region\n"


async def test_files_are_imported_whole_or_not_at_all(api: Api, terminal: Terminal) -> None:
    await api.new_site()
    row = ",".join(str(value) for value in did(number="+49305550200").values())
    file = terminal.home / "numbers.csv"
    file.write_text(f"{DIDS}{row}\n030 1,nowhere,main,DE,de,Europe/Berlin,eu\n")
    refused = await terminal("import", "dids", str(file))
    assert refused.code == 1
    assert "  row 3: number: " in refused.err
    assert "callplane dids fields" in refused.err
    assert len((await api.get("/dids")).body["items"]) == 1
    file.write_text(DIDS + row + "\n")
    checked = await terminal.done("import", "dids", str(file), "--dry-run")
    assert checked.out == "1 rows, nothing wrong; nothing was written\n"
    assert len((await api.get("/dids")).body["items"]) == 1
    assert "+49305550200" in (await terminal.done("import", "dids", str(file))).out
    assert (await terminal.done("dids", "--flow", "main", "--json")).json["items"][1]["number"] == "+49305550200"
    lines = "\n".join(json.dumps(agent(name=name)) for name in ("Ada", "Bob"))
    made = await terminal.done("import", "agents", "-", "--format", "jsonl", stdin=lines)
    assert "the passwords are shown only now" in made.err
    assert len(made.rows) == 3
    assert (await terminal("import", "dids", str(terminal.home / "none.csv"))).code == 2


async def test_pages_follow_one_another(api: Api, terminal: Terminal) -> None:
    for number in range(5):
        await api.made("/queues", {**QUEUE, "queue_id": f"q{number}"})
    first = await terminal.done("queues", "--limit", "2")
    assert [row[0] for row in first.rows] == ["q0", "q1"]
    cursor = first.err.strip().rpartition(" ")[2]
    second = await terminal.done("queues", "--limit", "2", "--cursor", cursor)
    assert [row[0] for row in second.rows] == ["q2", "q3"]
    whole = await terminal.done("queues", "--limit", "2", "--all")
    assert ([row[0] for row in whole.rows], whole.err) == ([f"q{number}" for number in range(5)], "")
    pages = (await terminal.done("queues", "--limit", "2", "--all", "--json")).out.splitlines()
    assert [len(json.loads(page)["items"]) for page in pages] == [2, 2, 1]


async def test_any_request_and_the_same_key_twice(api: Api, terminal: Terminal) -> None:
    made = [
        await terminal.done("api", "POST", "/queues", "--file", "-", "--idempotency-key", "k1", stdin=json.dumps(QUEUE))
        for _ in range(2)
    ]
    assert made[0].json == made[1].json
    etag = (await api.get("/queues/sales")).headers["ETag"]
    assert (await terminal.done("api", "DELETE", "/api/v1/queues/sales", "--if-match", etag)).out == ""
    assert (await terminal("api", "GET", "/queues/sales")).code == 1


async def test_why_is_in_the_audit_log(api: Api, terminal: Terminal) -> None:
    await terminal.done("queues", "create", "--file", "-", "--purpose", "für den Herbst", stdin=json.dumps(QUEUE))
    found = await terminal.done("audit", "--action", "queues_create")
    assert "für den Herbst" in found.out
    assert "added queues/sales" in found.out or "queues/sales" in found.out


async def test_own_prompts_go_up_and_come_back(terminal: Terminal) -> None:
    sound = terminal.home / "promo.alaw"
    sound.write_bytes(b"\xd5" * 8000)
    await terminal.done("prompts", "upload", "de", "promo", str(sound), "--text", "Herbstangebot")
    sound.write_bytes(b"\x55" * 16000)
    await terminal.done("prompts", "upload", "de", "promo", str(sound))
    assert "promo" in (await terminal.done("prompts", "uploaded", "--language", "de")).out
    assert [row[0] for row in (await terminal.done("prompts", "versions", "de", "promo")).rows] == ["2", "1"]
    assert (await terminal.done("prompts", "rollback", "de", "promo", "1", "--json")).json["text"] == "Herbstangebot"
    out = terminal.home / "promo.wav"
    await terminal.done("prompts", "download", "de", "promo", "--out", str(out))
    assert out.read_bytes()[:4] == b"RIFF"
    assert out.stat().st_mode & 0o777 == 0o600
    again = await terminal("prompts", "download", "de", "promo", "--out", str(out))
    assert (again.code, "is there already" in again.err) == (1, True)
    assert (await terminal("prompts", "upload", "de", "promo", str(out.with_suffix(".mp3")))).code == 2
    await terminal.done("prompts", "delete", "de", "promo")
