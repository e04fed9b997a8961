"""Prompts: their texts per language, and the files made from them.

``catalogue`` answers what can be said without any file; ``build`` makes the files and a manifest with what consent
evidence needs: the hash and the length of each file. What has not changed is not made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from dialplans import synth
from dialplans.schema import Strict

TEXTS_DIR = Path(__file__).parent / "prompts"
MANIFEST = "manifest.json"
FORMAT = 1
"""Of the manifest."""
RECIPE = 1
"""Raise it when the same text would sound different."""
MUSIC = "default"
MUSIC_DIR = "music"
TONES = ("voicemail-tone",)
"""Prompts that are no speech; every language has them."""
LAST_POSITION = 20
"""Highest queue position with a sentence of its own; ``position-more`` is said beyond it."""

Progress = Callable[[str, int, int], None]
"""Called with what was made, how many are done and how many there are to make."""


class PromptError(ValueError):
    """Texts at fault, or a manifest that cannot be read. The message names file and field."""


class Texts(Strict):
    """One language's ``prompts/<language>.yml``."""

    language: str = Field(pattern=r"^[a-z]{2,3}$")
    voice: str = Field(pattern=r"^[a-z]{2,3}(-[a-z0-9-]+)?$")
    """An espeak-ng voice."""
    prompts: dict[str, str] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt that was made. ``sha256`` is that of its A-law file, ``text_sha256`` that of the text spoken."""

    text: str
    text_sha256: str
    sha256: str
    duration_ms: int
    key: str
    """Hash of all that made the sound; another key means: make it again."""


@dataclass(frozen=True, slots=True)
class Manifest:
    prompts: Mapping[str, Mapping[str, PromptFile]]
    """Language -> prompt id -> what was made."""
    music: Mapping[str, PromptFile]

    def missing(self, language: str, prompt_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of ``prompt_ids`` that were not made in ``language``, sorted."""
        made = self.prompts.get(language, {})
        return tuple(sorted(set(prompt_ids) - set(made)))


@dataclass(frozen=True, slots=True)
class Built:
    manifest: Manifest
    made: tuple[str, ...]
    """``language/prompt_id`` of what was made now; the rest was there already."""
    removed: tuple[str, ...]


def parse_texts(text: str, where: str) -> Texts:
    """Raises PromptError naming ``where`` and the field."""
    try:
        texts = Texts.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise PromptError(f"{where}: not YAML: {error}") from error
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}" for e in error.errors())
        raise PromptError(f"{where}: " + "; ".join(faults)) from error
    for prompt_id, words in texts.prompts.items():
        if not prompt_id.replace("-", "").isalnum() or prompt_id != prompt_id.lower() or not prompt_id.isascii():
            raise PromptError(f"{where}: prompts.{prompt_id}: an id is small letters, digits and dashes")
        if not words.strip():
            raise PromptError(f"{where}: prompts.{prompt_id}: no text")
    return texts


@lru_cache(maxsize=1)
def _all_texts() -> Mapping[str, Texts]:
    found: dict[str, Texts] = {}
    for path in sorted(TEXTS_DIR.glob("*.yml")):
        texts = parse_texts(path.read_text(encoding="utf-8"), f"prompts/{path.name}")
        if texts.language != path.stem:
            raise PromptError(f"prompts/{path.name}: language: says {texts.language}")
        found[texts.language] = texts
    return found


def catalogue() -> dict[str, frozenset[str]]:
    """Prompt ids per language, without making anything. Raises PromptError when the texts are at fault."""
    return {language: frozenset((*texts.prompts, *TONES)) for language, texts in _all_texts().items()}


def texts_of(language: str) -> Mapping[str, str]:
    """Prompt id -> text. Raises PromptError for a language without texts."""
    try:
        return _all_texts()[language].prompts
    except KeyError:
        raise PromptError(f"language {language}: no prompts; there are {', '.join(_all_texts())}") from None


def default_dir() -> Path:
    """Named after the texts, so that two checkouts with other texts do not take each other's files away. One that
    nothing uses any more may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "callplane" / f"prompts-{_texts_hash()}"


@lru_cache(maxsize=1)
def _texts_hash() -> str:
    files = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(TEXTS_DIR.glob("*.yml"))]
    return _sha256(json.dumps([FORMAT, RECIPE, TONES, files]).encode())[:12]


def load_manifest(directory: Path) -> Manifest:
    """What was made in ``directory``. Raises PromptError when nothing was, or the manifest is not one."""
    path = directory / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PromptError(f"{path}: missing; make the prompts with: callplane prompts build") from None
    except ValueError as error:
        raise PromptError(f"{path}: not JSON: {error}") from error
    try:
        if data["format"] != FORMAT:
            raise PromptError(f"{path}: format: is {data['format']}, this program reads {FORMAT}")
        return Manifest(
            prompts={
                language: {prompt_id: PromptFile(**made) for prompt_id, made in prompts.items()}
                for language, prompts in data["prompts"].items()
            },
            music={name: PromptFile(**made) for name, made in data["music"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PromptError(f"{path}: not a manifest: {error!r}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    """Path of the files below the target, without suffix."""
    text: str
    voice: str | None
    """None: music, or a tone."""
    key: str

    @property
    def is_tone(self) -> bool:
        return self.name.rpartition("/")[2] in TONES


def _jobs(languages: Iterable[str], version: str) -> list[_Job]:
    jobs = []
    for language in languages:
        texts_of(language)
        texts = _all_texts()[language]
        for prompt_id, text in texts.prompts.items():
            key = _sha256(json.dumps([RECIPE, version, texts.voice, text]).encode())
            jobs.append(_Job(f"{language}/{prompt_id}", text, texts.voice, key))
        for tone in TONES:
            jobs.append(_Job(f"{language}/{tone}", "", None, _sha256(json.dumps([RECIPE, tone]).encode())))
    jobs.append(_Job(f"{MUSIC_DIR}/{MUSIC}/chords", "", None, _sha256(json.dumps([RECIPE, "music"]).encode())))
    return jobs


def _intact(target: Path, job: _Job, made: PromptFile | None) -> bool:
    if made is None or made.key != job.key:
        return False
    files = [target / f"{job.name}.{suffix}" for suffix in synth.SUFFIXES]
    return all(file.is_file() for file in files) and _sha256(files[0].read_bytes()) == made.sha256


def _make(job: _Job, into: Path) -> PromptFile:
    if job.voice is not None:
        sound = synth.speak(job.text, job.voice)
    else:
        sound = synth.tone() if job.is_tone else synth.music()
    files = synth.encode(sound)
    path = into / job.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, data in files.items():
        path.with_name(f"{path.name}.{suffix}").write_bytes(data)
    first = next(iter(files.values()))
    duration_ms = len(sound) * 1000 // synth.RATE_HZ
    return PromptFile(job.text, _sha256(job.text.encode()), _sha256(first), duration_ms, job.key)


def _by_name(manifest: Manifest) -> dict[str, PromptFile]:
    names = {f"{language}/{i}": made for language, prompts in manifest.prompts.items() for i, made in prompts.items()}
    return names | {f"{MUSIC_DIR}/{name}/chords": made for name, made in manifest.music.items()}


def build(target: Path, languages: Iterable[str] | None = None, progress: Progress | None = None) -> Built:
    """Makes every prompt of ``languages`` (all by default) and the music in ``target`` as LANGUAGE/PROMPT_ID.alaw and
    .ulaw and music/default/. What is there and unchanged is kept; what has no text any more is removed.

    All is made aside first: a build that fails or is killed leaves the old files and the old manifest. Two builds of
    one target take turns. Raises PromptError (a language without texts) or SynthesisError (espeak-ng)."""
    wanted = tuple(_all_texts()) if languages is None else tuple(dict.fromkeys(languages))
    jobs = _jobs(wanted, synth.espeak_version())
    target.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context((target / ".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = _by_name(load_manifest(target)) if (target / MANIFEST).exists() else {}
        todo = [job for job in jobs if not _intact(target, job, old.get(job.name))]
        names = {job.name for job in jobs}
        stale = sorted(name for name in old if name.split("/")[0] in wanted and name not in names)
        new = dict(old)
        for name in stale:
            del new[name]
        if todo or stale:
            for leftover in target.glob(".new-*"):  # of a build that was killed: we hold the lock
                shutil.rmtree(leftover)
            aside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".new-", dir=target)))
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=os.cpu_count() or 1))
            for done, (job, made) in enumerate(
                zip(todo, pool.map(lambda job: _make(job, aside), todo), strict=True), 1
            ):
                new[job.name] = made
                if progress is not None:
                    progress(job.name, done, len(todo))
            _install(target, aside, [job.name for job in todo], stale, new)
        return Built(_manifest(new), tuple(job.name for job in todo), tuple(stale))


def _install(target: Path, aside: Path, made: list[str], stale: list[str], files: Mapping[str, PromptFile]) -> None:
    for name in made:
        for suffix in synth.SUFFIXES:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / f"{name}.{suffix}", target / f"{name}.{suffix}")
    text = json.dumps({"format": FORMAT, **asdict(_manifest(files))}, ensure_ascii=False, indent=1, sort_keys=True)
    (aside / MANIFEST).write_text(text + "\n", encoding="utf-8")
    os.replace(aside / MANIFEST, target / MANIFEST)
    for name in stale:
        for suffix in synth.SUFFIXES:
            (target / f"{name}.{suffix}").unlink(missing_ok=True)


def _manifest(files: Mapping[str, PromptFile]) -> Manifest:
    prompts: dict[str, dict[str, PromptFile]] = {}
    music: dict[str, PromptFile] = {}
    for name, made in sorted(files.items()):
        first, rest = name.split("/", 1)
        if first == MUSIC_DIR:
            music[rest.split("/")[0]] = made
        else:
            prompts.setdefault(first, {})[rest] = made
    return Manifest(prompts, music)
