"""Prompts of the centre's on a POP's disk: fetched until they are there, whole or not at all, and never changed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path

from pbx.controller.prompt_shelf import PromptShelf
from pbx.wire.messages import PromptConfig
from tests.integration.centre.support import until

OLD, NEW = b"old" * 1000, b"new" * 1000


def sha(sound: bytes) -> str:
    return hashlib.sha256(sound).hexdigest()


def told(sound: bytes, prompt_id: str = "hello") -> PromptConfig:
    return PromptConfig(prompt_id=prompt_id, language="de", sha256=sha(sound), duration_ms=375)


def both(alaw: bytes) -> Mapping[str, bytes]:
    return {"alaw": alaw, "ulaw": alaw[::-1]}


class Centre:
    """Has some sounds; ``answers`` before that are played first."""

    def __init__(self, *sounds: bytes) -> None:
        self.sounds = {sha(sound): sound for sound in sounds}
        self.answers: list[bytes | None] = []
        self.asked: list[str] = []
        self.came = 0

    async def fetch(self, sha256: str) -> bytes | None:
        self.asked.append(sha256)
        await asyncio.sleep(0.1)
        return self.answers.pop(0) if self.answers else self.sounds.get(sha256)

    def changed(self) -> None:
        self.came += 1


async def settled(shelf: PromptShelf, config: PromptConfig) -> None:
    await until(lambda: shelf.missing(config) is None)


def sound(path: str, suffix: str = "alaw") -> bytes:
    return Path(f"{path}.{suffix}").read_bytes()


def kept(directory: Path) -> list[Path]:
    return sorted(file for file in directory.rglob("*") if file.is_file())


async def test_a_prompt_is_fetched_until_it_is_whole(tmp_path: Path) -> None:
    index: dict[tuple[str, str], str] = {("hello", "de"): "packaged"}
    files: dict[str, str] = {}
    centre = Centre(NEW)
    centre.answers = [None, b"something else"]
    shelf = PromptShelf(tmp_path, index, files, both)
    shelf.put(told(NEW))
    assert index["hello", "de"] == "packaged"
    shelf.start(centre.fetch, centre.changed)
    assert "not come" in (shelf.missing(told(NEW)) or "")
    await settled(shelf, told(NEW))
    assert centre.asked == [sha(NEW)] * 3
    assert (index["hello", "de"], centre.came) == (sha(NEW), 1)
    path = files[sha(NEW)]
    assert (sound(path), sound(path, "ulaw")) == (NEW, NEW[::-1])
    assert [file.suffix for file in kept(tmp_path)] == [".alaw", ".ulaw"]


async def test_the_former_version_stays_until_the_new_one_is_here_and_its_file_for_who_hears_it(tmp_path: Path) -> None:
    index: dict[tuple[str, str], str] = {}
    files: dict[str, str] = {}
    centre = Centre(OLD)
    shelf = PromptShelf(tmp_path, index, files, both)
    shelf.start(centre.fetch, centre.changed)
    shelf.put(told(OLD))
    await settled(shelf, told(OLD))
    shelf.put(told(NEW))
    await until(lambda: len(centre.asked) > 2)
    assert index["hello", "de"] == sha(OLD)
    centre.sounds[sha(NEW)] = NEW
    await settled(shelf, told(NEW))
    assert index["hello", "de"] == sha(NEW)
    assert sound(files[sha(OLD)]) == OLD
    shelf.put(told(OLD))  # rolled back: it is here
    assert index["hello", "de"] == sha(OLD)
    shelf.remove("hello", "de")
    assert index == {}


async def test_what_is_on_the_disk_is_not_asked_for_unless_it_is_broken(tmp_path: Path) -> None:
    centre = Centre(NEW)
    first = PromptShelf(tmp_path, {}, {}, both)
    first.start(centre.fetch, centre.changed)
    first.put(told(NEW))
    await settled(first, told(NEW))
    index = {("hello", "de"): "packaged"}
    again = PromptShelf(tmp_path, index, {}, both)
    again.put(told(NEW))
    assert index["hello", "de"] == sha(NEW)  # without a centre
    file = kept(tmp_path)[0]
    file.write_bytes(b"cut")
    files: dict[str, str] = {}
    third = PromptShelf(tmp_path, {}, files, both)
    third.put(told(NEW))
    assert files == {}
    third.start(centre.fetch, centre.changed)
    await settled(third, told(NEW))
    assert file.read_bytes() == NEW
    again.remove("hello", "de")
    assert index["hello", "de"] == "packaged"


async def test_without_a_directory_it_says_so(tmp_path: Path) -> None:
    centre = Centre(NEW)
    shelf = PromptShelf(None, {}, {}, both)
    shelf.start(centre.fetch, centre.changed)
    shelf.put(told(NEW))
    assert "UPLOADED_PROMPT_DIR is not set" in (shelf.missing(told(NEW)) or "")
    assert centre.asked == []
