"""Prompts: uploaded over REST in versions, fetched by the POP over the bus, and then named by flows."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dialplans import uploads
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.controller.prompt_shelf import PromptShelf
from pbx.wire.messages import PromptConfig
from tests.integration.centre.support import Answer, Api, graph, outbox_is_empty, pop, until


def wav(hz: float = 440.0, seconds: float = 1.0, rate: int = 16000, channels: int = 1, kind: str = "WAV") -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * hz * t)
    out = io.BytesIO()
    soundfile.write(out, np.stack([tone] * channels, axis=1), rate, format=kind)
    return out.getvalue()


def kept(path: str, suffix: str) -> bytes:
    return Path(f"{path}.{suffix}").read_bytes()


async def sent(api: Api, path: str, data: bytes, kind: str = "audio/wav", **headers: str) -> Answer:
    return await api.ask("PUT", path, data=data, headers={"Content-Type": kind, **headers})


async def test_a_prompt_is_uploaded_listened_to_and_versioned(api: Api) -> None:
    path = "/prompts/de/promo"
    first = await sent(api, f"{path}?text=Hallo", wav(440))
    assert first.status == 200, first.body
    assert (first.body["version"], first.body["text"], first.body["uploaded_by"]) == (1, "Hallo", "first admin")
    assert abs(first.body["duration_ms"] - 1000) < 5
    same = await sent(api, f"{path}?text=Hallo", wav(440))
    assert (same.body, same.headers["ETag"]) == (first.body, first.headers["ETag"])
    second = await sent(api, path, wav(880, rate=44100, channels=2))
    assert (second.body["version"], second.body["sha256"] == first.body["sha256"]) == (2, False)
    stale = await sent(api, path, wav(220), **{"If-Match": first.headers["ETag"]})
    assert stale.status == 412
    heard = await api.get(f"{path}/content")
    assert heard.headers["Content-Type"] == "audio/wav"
    sound, rate = soundfile.read(io.BytesIO(heard.body))
    spectrum = np.abs(np.fft.rfft(sound))
    assert rate == 8000
    assert abs(np.argmax(spectrum) * rate / len(sound) - 880) < 3
    former, _ = soundfile.read(io.BytesIO((await api.get(f"{path}/content?version=1")).body))
    assert abs(np.argmax(np.abs(np.fft.rfft(former))) * rate / len(former) - 440) < 3
    assert [one["version"] for one in (await api.get(f"{path}/versions")).body["items"]] == [2, 1]
    back = await api.post(f"{path}/rollback", {"version": 1})
    assert (back.status, back.body["sha256"]) == (200, first.body["sha256"])
    assert (await api.get(path)).body["version"] == 1
    assert [one["prompt_id"] for one in (await api.get("/prompts?language=de")).body["items"]] == ["promo"]
    assert (await api.get("/prompts?language=en")).body["items"] == []
    third = await sent(api, path, wav(300))
    assert third.body["version"] == 3
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).error_id == "unknown_prompt"


async def test_g711_stays_as_it_came(api: Api) -> None:
    alaw = bytes(range(256)) * 8
    made = await sent(api, "/prompts/de/raw", alaw, "audio/PCMA")
    assert made.body["sha256"] == hashlib.sha256(alaw).hexdigest()
    assert made.body["duration_ms"] == 256
    assert (await sent(api, "/prompts/de/raw", alaw, "audio/PCMU")).body["version"] == 2


@pytest.mark.parametrize(
    ("data", "kind", "status", "reason"),
    [
        (b"RIFF", "audio/wav", 422, "not a WAV file"),
        (b"", "audio/PCMA", 422, "lasts 0.0 s"),
        (wav(seconds=0.05), "audio/wav", 422, "lasts 0.1 s"),
        (b"\xd5" * 8000 * 301, "audio/PCMA", 422, "lasts 301.0 s"),
        (wav(rate=4000), "audio/wav", 422, "4000 samples"),
        (wav(kind="FLAC"), "audio/wav", 422, "is FLAC"),
        (wav(), "audio/ogg", 415, ""),
    ],
)
async def test_what_is_no_prompt_is_refused(api: Api, data: bytes, kind: str, status: int, reason: str) -> None:
    refused = await sent(api, "/prompts/de/promo", data, kind)
    assert refused.status == status, refused.body
    assert reason in refused.body["detail"]
    assert (await api.get("/prompts")).body["items"] == []


async def test_names_are_checked(api: Api) -> None:
    for path, field in (("/prompts/German/x", "language"), ("/prompts/de/Not%20A%20Name", "prompt_id")):
        assert list((await sent(api, path, wav())).fields) == [field]


async def test_flows_and_queues_name_only_prompts_that_exist(api: Api) -> None:
    await api.new_site()
    nodes = {**graph()["nodes"], "hello": {"type": "say", "prompts": ["promo"], "next": "wait"}}
    flow = {"graph": graph(nodes=nodes)}
    assert "no prompt promo" in (await api.put("/flows/main", flow)).fields["graph.nodes.hello"]
    await sent(api, "/prompts/de/promo", wav())
    assert "missing in language en" in (await api.put("/flows/main", flow)).fields["graph.nodes.hello"]
    await sent(api, "/prompts/en/promo", wav())
    assert (await api.put("/flows/main", flow)).status == 200
    step = {"after_s": 60, "action": {"type": "end_with_prompt", "prompt_id": "promo"}}
    assert (await api.put("/queues/sales", {"name": "Sales", "steps": [step]})).status == 200
    used = await api.delete("/prompts/en/promo")
    assert (used.status, used.error_id) == (409, "prompt_in_use")
    assert "flow main" in used.body["detail"]
    assert "queue sales" in used.body["detail"]
    # A language of which there is only the beginning keeps no queue from being changed...
    await sent(api, "/prompts/fr/greeting-fr", wav())
    assert (await api.put("/queues/sales", {"name": "Sales", "steps": [step]})).status == 200
    listed = {one["language"]: one["prompt_ids"] for one in (await api.get("/prompt-catalogue")).body["languages"]}
    assert (listed["fr"], "promo" in listed["de"], "hello" in listed["de"]) == (["greeting-fr"], True, True)
    # ... but no flow leads its callers into a queue that could not speak to them.
    french = {"start": "wait", "languages": ["fr"], "nodes": {"wait": nodes["wait"], "bye": {"type": "hang_up"}}}
    refused = await api.post("/flows", {"flow_id": "french", "graph": french})
    assert "says prompt promo, which is missing in language fr" in str(refused.body["errors"])
    # One that the package has too may go at any time.
    await sent(api, "/prompts/de/hello", wav())
    assert (await api.delete("/prompts/de/hello")).status == 204


async def test_a_pop_fetches_what_it_is_told_of(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_pop()
    long = (await sent(api, "/prompts/de/long", wav(seconds=100.0, rate=8000))).body  # three chunks
    await until(lambda: outbox_is_empty(centre[0]))
    index: dict[tuple[str, str], str] = {}
    files: dict[str, str] = {}
    shelf = PromptShelf(tmp_path / "prompts", index, files, uploads.files)
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        shelf.start(site.link.prompt, lambda: None)

        def told(prompt_id: str) -> PromptConfig | None:
            entities = [entry.entity for _, entry in site.handler.changes if entry is not None]
            found = [one for one in entities if isinstance(one, PromptConfig) and one.prompt_id == prompt_id]
            return found[-1] if found else None

        config = await until(lambda: told("long"))
        assert (config.sha256, config.duration_ms) == (long["sha256"], long["duration_ms"])
        shelf.put(config)
        await until(lambda: shelf.missing(config) is None)
        alaw, ulaw = (kept(files[long["sha256"]], suffix) for suffix in ("alaw", "ulaw"))
        assert (len(alaw), hashlib.sha256(alaw).hexdigest()) == (800_000, long["sha256"])
        assert len(ulaw) == 800_000
        assert await site.link.prompt("0" * 64) is None
        await sent(api, "/prompts/de/late", wav())
        assert await until(lambda: told("late"))
        await api.delete("/prompts/de/late")
        await until(lambda: ("prompt.de.late", None) in site.handler.changes)
    shelf.stop()


async def test_uploads_at_the_same_time_are_versions_one_after_the_other(api: Api) -> None:
    answers = await asyncio.gather(*(sent(api, "/prompts/de/promo", wav(200.0 + 50 * n)) for n in range(6)))
    assert sorted(answer.body["version"] for answer in answers) == [1, 2, 3, 4, 5, 6]
    newest = max(answers, key=lambda answer: int(answer.body["version"])).body
    assert (await api.get("/prompts/de/promo")).body == newest
