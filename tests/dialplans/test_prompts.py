"""Prompts: complete in every language, made once, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dialplans import prompts, synth
from dialplans.prompts import PromptError, build, catalogue, load_manifest, parse_texts, texts_of
from dialplans.synth import SynthesisError
from pbx.domain import spoken
from pbx.domain.wait_announcement import WAIT_PROMPTS
from tests.lab.audio import contains_tone

NEEDED = {
    "greeting",
    "choose-language",
    "menu",
    "invalid-choice",
    "no-input",
    "consent-ask",
    "consent-granted",
    "consent-refused",
    "queue-welcome",
    "queue-position",
    *(f"position-{number}" for number in range(1, prompts.LAST_POSITION + 1)),
    "position-more",
    *WAIT_PROMPTS,
    *spoken.NUMBERS,
    "all-agents-busy",
    "no-agent",
    "queue-full",
    "goodbye",
    "fallback",
    "unknown-number",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("prompts")
    build(target)
    return target


def test_every_prompt_exists_in_every_language() -> None:
    everything = catalogue()
    assert {"de", "en"} <= set(everything)
    ids = everything["de"]
    assert ids >= NEEDED
    for language, has in everything.items():
        assert has == ids, f"{language} differs: {sorted(has ^ ids)}"


def test_no_two_ids_of_a_language_say_the_same() -> None:
    for language in catalogue():
        # Not every language says one in another way before a hundred.
        texts = [text for prompt_id, text in texts_of(language).items() if prompt_id != spoken.BEFORE]
        assert len(set(texts)) == len(texts)


def test_what_was_built_is_speech_with_its_hash_and_length(built: Path) -> None:
    manifest = load_manifest(built)
    assert {language: frozenset(made) for language, made in manifest.prompts.items()} == catalogue()
    for language, made in manifest.prompts.items():
        for prompt_id, prompt in made.items():
            data = (built / language / f"{prompt_id}.alaw").read_bytes()
            assert hashlib.sha256(data).hexdigest() == prompt.sha256
            assert prompt.duration_ms == len(data) // 8
            assert len((built / language / f"{prompt_id}.ulaw").read_bytes()) == len(data)
            shortest_ms = 150 if prompt_id in spoken.NUMBERS else 500
            assert shortest_ms < prompt.duration_ms < 20_000, prompt_id
            sound = synth.decode(built / language / f"{prompt_id}.alaw")
            assert 0.02 < float(np.sqrt(np.mean(sound**2))) < 0.4, prompt_id
            assert float(np.max(np.abs(sound))) <= synth.PEAK * 1.05
    assert manifest.missing("de", ["greeting", "nonsense"]) == ("nonsense",)
    assert manifest.missing("fr", ["greeting"]) == ("greeting",)


def test_music_loops_softly_without_a_click(built: Path) -> None:
    sound = synth.decode(built / "music" / "default" / "chords.alaw")
    assert len(sound) == load_manifest(built).music["default"].duration_ms * 8
    steps = np.abs(np.diff(sound))
    assert abs(sound[0] - sound[-1]) <= float(np.max(steps))
    assert float(np.max(np.abs(sound))) < 0.25
    assert float(np.sqrt(np.mean(sound**2))) > 0.02


def test_the_tone_is_a_tone_after_a_pause_in_every_language(built: Path) -> None:
    for language in catalogue():
        sound = synth.decode(built / language / "voicemail-tone.alaw")
        pause = int(synth.PAUSE_S * synth.RATE_HZ)
        assert contains_tone(sound[pause:], synth.RATE_HZ, synth.TONE_HZ)
        assert float(np.max(np.abs(sound[:pause]))) < 0.01


def test_only_what_changed_is_made_again(built: Path) -> None:
    assert build(built).made == ()
    (built / "de" / "menu.alaw").write_bytes(b"damaged")
    (built / "en" / "menu.ulaw").unlink()
    assert build(built).made == ("de/menu", "en/menu")
    data = json.loads((built / "manifest.json").read_text())
    data["prompts"]["de"]["goodbye"]["key"] = "made by another version"
    data["prompts"]["de"]["no-longer"] = data["prompts"]["de"]["goodbye"]
    (built / "manifest.json").write_text(json.dumps(data))
    (built / "de" / "no-longer.alaw").write_bytes(b"old")
    again = build(built)
    assert (again.made, again.removed) == (("de/goodbye",), ("de/no-longer",))
    assert not (built / "de" / "no-longer.alaw").exists()
    assert build(built).made == ()


def test_the_same_text_gives_the_same_sound(built: Path, tmp_path: Path) -> None:
    build(tmp_path, ["en"])
    assert load_manifest(tmp_path).prompts["en"] == load_manifest(built).prompts["en"]
    assert set(load_manifest(tmp_path).prompts) == {"en"}


def test_a_build_that_fails_changes_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in built.rglob("*") if path.is_file()}

    before = content()
    monkeypatch.setattr(prompts, "RECIPE", prompts.RECIPE + 1)
    speak = synth.speak

    def fail_late(text: str, voice: str) -> synth.Sound:
        if text == texts_of("de")["menu"]:
            raise SynthesisError("disk full")
        return speak(text, voice)

    monkeypatch.setattr(synth, "speak", fail_late)
    with pytest.raises(SynthesisError, match="disk full"):
        build(built, ["de"])
    assert content() == before


def test_missing_espeak_is_said_with_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthesisError, match="install the Debian package espeak-ng"):
        build(tmp_path / "prompts")
    assert not (tmp_path / "prompts").exists()


def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(SynthesisError, match="voice xx-none"):
        synth.speak("hello", "xx-none")


def test_a_language_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="language xx: no prompts; there are de, en"):
        build(tmp_path, ["xx"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("language: de\nvoice: de\nprompts: {}", "prompts"),
        ("language: de\nprompts: {a: b}", "voice"),
        ("language: de\nvoice: de\nprompts: {Up: b}", "prompts.Up"),
        ("language: de\nvoice: de\nprompts: {../x: b}", r"prompts\.\.\./x"),
        ("language: de\nvoice: de\nprompts: {a: ' '}", "prompts.a"),
        ("[", "not YAML"),
    ],
)
def test_texts_at_fault_are_refused(text: str, reason: str) -> None:
    with pytest.raises(PromptError, match=rf"^de\.yml: .*{reason}"):
        parse_texts(text, "de.yml")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "prompts": {"de": 1}, "music": {}}'])
def test_what_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(PromptError, match=r"manifest\.json"):
        load_manifest(tmp_path)


def test_without_a_build_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="callplane prompts build"):
        load_manifest(tmp_path)
