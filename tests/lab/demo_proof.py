"""The demo's proof: what was said about a call, measured on its samples, its record and the POP's disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.audio import PRESENT_DB, Samples, read_wav, tone_level_db
from tests.lab.demo_scenario import (
    AGENT_TONES,
    ENGLISH,
    GERMAN,
    HIDDEN,
    IMPATIENT,
    LOST,
    SIPP_CLIS,
    TALKERS,
    Caller,
    Scenario,
)
from tests.lab.errors import LabError
from tests.lab.rootfs import cache_dir
from tests.lab.stack import Stack, recordings_on_disk

ABSENT_DB = -50.0
"""A tone below this is not there; in the lab a silent side lies below -70 dB."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the proof."""

    ok: bool
    text: str


def wav_dir() -> Path:
    """Where the demo puts the recordings it downloads."""
    return cache_dir() / "demo"


async def download(stack: Stack, cdrs: list[dict[str, Any]]) -> dict[str, Path]:
    """Fetch every recording over REST; CLI -> file. Those of an earlier demo go."""
    directory = wav_dir()
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.wav"):
        old.unlink()
    found = {}
    for cdr in cdrs:
        for recording in cdr["recordings"]:
            path = directory / f"{cdr['cli'].strip('+')}-{recording['recording_id']}.wav"
            content = await stack.api.download(f"recordings/{recording['recording_id']}/content")
            path.touch(0o600)
            path.write_bytes(content)
            found[cdr["cli"]] = path
    return found


def prove(scenario: Scenario, cdrs: list[dict[str, Any]], files: dict[str, Path]) -> list[Check]:
    """Every line of the proof, true or not."""
    by_cli = {cdr["cli"]: cdr for cdr in cdrs}
    missing = [caller.cli for caller in (*TALKERS, IMPATIENT, LOST) if caller.cli not in by_cli]
    if missing:
        return [Check(False, f"no record at the centre of a call from {cli}") for cli in missing]
    names = {agent.agent_id: name for name, agent in scenario.stack.agents.items()}
    checks: list[Check] = []
    for caller in TALKERS:
        checks += _what_phones_heard(scenario, caller)
    for caller in (GERMAN, HIDDEN):
        path = files.get(caller.cli)
        if path is None:
            checks.append(Check(False, f"{caller.cli} agreed to the recording, and there is none"))
        else:
            checks += _stereo(caller, AGENT_TONES[names[by_cli[caller.cli]["agent_id"]]], path)
    checks += _nothing_recorded(scenario.stack, by_cli[ENGLISH.cli], cdrs)
    checks += _records(by_cli, cdrs)
    return checks


def _stereo(caller: Caller, agent_hz: int, path: Path) -> Iterator[Check]:
    channels, rate = read_wav(path)
    yield Check(len(channels) == 2 and rate == 8000, f"{path.name}: {len(channels)} channels at {rate} Hz")
    if len(channels) == 2:
        left, right = channels
        yield _present("left", left, rate, caller.tone_hz, "caller's", path)
        yield _absent("left", left, rate, agent_hz, "agent's", path)
        yield _present("right", right, rate, agent_hz, "agent's", path)
        yield _absent("right", right, rate, caller.tone_hz, "caller's", path)


def _present(side: str, samples: Samples, rate: int, freq_hz: int, whose: str, path: Path) -> Check:
    level = tone_level_db(samples, rate, freq_hz)
    return Check(level >= PRESENT_DB, f"{path.name}: {whose} {freq_hz} Hz on the {side}: {level:.0f} dB, present")


def _absent(side: str, samples: Samples, rate: int, freq_hz: int, whose: str, path: Path) -> Check:
    level = tone_level_db(samples, rate, freq_hz)
    return Check(level <= ABSENT_DB, f"{path.name}: {whose} {freq_hz} Hz on the {side}: {level:.0f} dB, absent")


def _what_phones_heard(scenario: Scenario, caller: Caller) -> Iterator[Check]:
    heard = scenario.heard.get(caller.cli)
    if heard is None or isinstance(heard, LabError):
        yield Check(False, f"{caller.cli}: {heard or 'never talked to an agent'}")
        return
    agent_hz = AGENT_TONES[heard.agent]
    both = min(heard.caller_hears_agent, heard.agent_hears_caller) >= PRESENT_DB
    yield Check(
        both,
        f"{caller.cli} heard {heard.agent}'s {agent_hz} Hz at {heard.caller_hears_agent:.0f} dB,"
        f" {heard.agent} heard the caller's {caller.tone_hz} Hz at {heard.agent_hears_caller:.0f} dB",
    )
    echo = max(heard.caller_hears_self, heard.agent_hears_self)
    yield Check(echo <= ABSENT_DB, f"{caller.cli} and {heard.agent} heard nothing of themselves: {echo:.0f} dB")


def _nothing_recorded(stack: Stack, refused: dict[str, Any], cdrs: list[dict[str, Any]]) -> Iterator[Check]:
    """A refused call has no recording in its record and, by name, none on the disk: every file there is another's."""
    yield Check(not refused["recordings"], f"{refused['cli']} refused: its record names no recording")
    known = {recording["recording_id"] for cdr in cdrs for recording in cdr["recordings"] if _granted(cdr)}
    on_disk = recordings_on_disk(stack.pop)
    strange = [path.name for path in on_disk if path.stem not in known]
    text = f"{refused['cli']} refused: no file at the POP, which holds {len(on_disk)}, each of a call that agreed"
    yield Check(not strange and len(on_disk) == len(known), f"{text}; others: {strange}" if strange else text)


def _granted(cdr: dict[str, Any]) -> bool:
    return bool(cdr["consents"]) and cdr["consents"][-1]["granted"]


def _records(by_cli: dict[str, dict[str, Any]], cdrs: list[dict[str, Any]]) -> Iterator[Check]:
    """What the calls were to show is in their records."""
    outcomes = [offer["outcome"] for cdr in cdrs for offer in cdr["offers"]]
    rona = next((c for c in cdrs if [o["outcome"] for o in c["offers"]][:1] == ["no_answer"]), None)
    kept = rona is not None and rona["offers"][-1]["outcome"] == "answered"
    who = rona["cli"] if rona is not None else "nobody"
    yield Check(
        kept, f"RONA: {who}'s first agent did not answer, the next one did ({outcomes.count('no_answer')} such)"
    )
    yield Check(by_cli[IMPATIENT.cli]["abandoned"], f"{IMPATIENT.cli} hung up while waiting: abandoned")
    lost = by_cli[LOST.cli]
    yield Check(lost["nodes"][-1:] == ["goodbye"] and not lost["queue_id"], f"{LOST.cli} pressed wrong digits: goodbye")
    hidden = by_cli[HIDDEN.cli]["consents"][-1:]
    strict = bool(hidden) and hidden[0]["regime"] == "opt_in" and "unknown" in hidden[0]["jurisdictions"]
    yield Check(strict, "the withheld number counts as the strictest regime: opt_in")
    for cli, language in ((GERMAN.cli, "de"), (ENGLISH.cli, "en")):
        yield Check(by_cli[cli]["language"] == language, f"{cli} chose {language}")
    sipp = [cli for cli in SIPP_CLIS if cli in by_cli and _granted(by_cli[cli])]
    yield Check(len(sipp) == len(SIPP_CLIS), f"{len(sipp)} of {len(SIPP_CLIS)} sipp callers agreed by digit")
