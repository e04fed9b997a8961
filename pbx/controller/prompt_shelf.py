"""Prompts that the centre has told of: fetched once, kept on this disk by their hash, and never changed there, so that
what is being played stays as it is when a newer version comes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path

from pbx.wire.messages import PromptConfig

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
Fetch = Callable[[str], Awaitable[bytes | None]]
"""The A-law bytes of a hash; None while the centre cannot be asked or does not have it."""
Encode = Callable[[bytes], Mapping[str, bytes]]
"""A-law -> file suffix -> bytes."""


class PromptShelf:
    """``index`` ((prompt id, language) -> hash) is where calls look prompts up: the shelf puts its own there and takes
    them out again. ``files`` (hash -> path without suffix) is where the media server's adapter finds them."""

    def __init__(
        self,
        directory: Path | None,
        index: MutableMapping[tuple[str, str], str],
        files: MutableMapping[str, str],
        encode: Encode,
    ) -> None:
        self._directory, self._index, self._files, self._encode = directory, index, files, encode
        self._packaged = dict(index)
        self._wanted: dict[tuple[str, str], str] = {}
        self._fetching: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._fetch: Fetch | None = None
        self._changed: Callable[[], None] = lambda: None

    def start(self, fetch: Fetch | None, changed: Callable[[], None]) -> None:
        """``changed`` is called whenever a prompt has come."""
        self._fetch, self._changed = fetch, changed
        for name in [name for name, sha256 in self._wanted.items() if self._index.get(name) != sha256]:
            self._begin(name)

    def stop(self) -> None:
        for task in self._fetching.values():
            task.cancel()

    def put(self, config: PromptConfig) -> None:
        """Have it; the former version stays in force until the new one is here."""
        name = (config.prompt_id, config.language)
        self._wanted[name] = config.sha256
        if (task := self._fetching.pop(name, None)) is not None:
            task.cancel()
        if not self._take(name, config.sha256):
            self._begin(name)

    def remove(self, prompt_id: str, language: str) -> None:
        """The packaged one counts again, if there is one."""
        name = (prompt_id, language)
        if self._wanted.pop(name, None) is None:
            return
        if (task := self._fetching.pop(name, None)) is not None:
            task.cancel()
        if name in self._packaged:
            self._index[name] = self._packaged[name]
        else:
            self._index.pop(name, None)

    def missing(self, config: PromptConfig) -> str | None:
        """Why it is not in force yet."""
        if self._index.get((config.prompt_id, config.language)) == config.sha256:
            return None
        if self._directory is None:
            return "this POP keeps no prompts of the centre's: CALLPLANE_POP_UPLOADED_PROMPT_DIR is not set"
        return "its sound has not come yet"

    def _begin(self, name: tuple[str, str]) -> None:
        if self._directory is not None and self._fetch is not None and name not in self._fetching:
            task = asyncio.get_running_loop().create_task(self._get(name, self._fetch), name=f"prompt {'.'.join(name)}")
            self._fetching[name] = task

    async def _get(self, name: tuple[str, str], fetch: Fetch) -> None:
        sha256, pause_s = self._wanted[name], FIRST_PAUSE_S
        while True:
            alaw = await fetch(sha256)
            if alaw is not None and hashlib.sha256(alaw).hexdigest() != sha256:
                log.error("prompt %s came with another hash than it has", ".".join(name))
                alaw = None
            if alaw is not None:
                try:
                    await asyncio.to_thread(self._store, name, sha256, alaw)
                    break
                except OSError as error:
                    log.error("prompt %s could not be stored: %s", ".".join(name), error.strerror)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        del self._fetching[name]
        if self._take(name, sha256):
            self._changed()

    def _path(self, name: tuple[str, str], sha256: str) -> Path | None:
        prompt_id, language = name
        return None if self._directory is None else self._directory / language / f"{prompt_id}.{sha256[:16]}"

    def _store(self, name: tuple[str, str], sha256: str, alaw: bytes) -> None:
        path = self._path(name, sha256)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, data in sorted(self._encode(alaw).items(), reverse=True):  # A-law last: with it all are there
            aside = path.with_name(f".{path.name}.{suffix}.new")
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.chmod(0o644)
            aside.replace(path.with_name(f"{path.name}.{suffix}"))

    def _take(self, name: tuple[str, str], sha256: str) -> bool:
        """Put it into force if its file is here."""
        path = self._path(name, sha256)
        if path is None:
            return False
        file = path.with_name(path.name + ".alaw")
        try:
            if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
                return False
        except OSError:
            return False  # not here, or not readable: it is fetched
        self._files[sha256] = str(path)
        self._index[name] = sha256
        return True
