"""Hidden values as one small file a call, in a memory-backed directory that only the controller may enter.

The running recordings, in which the same digits can be heard as tones, rest beside it in the same way.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pbx.domain.errors import BadValue
from pbx.domain.ids import CallId, is_ulid
from pbx.ports.hidden import Hidden

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_line = msgspec.json.Decoder(tuple[int, str | dict[str, str | int | float | bool]])


class HiddenFiles:
    """Implements ``pbx.ports.hidden.HiddenValues``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory

    def _path(self, call_id: CallId) -> Path:
        if not is_ulid(call_id):
            raise BadValue("call_id", "is not a ULID")
        return self._directory / call_id

    def keep(self, call_id: CallId, number: int, value: Hidden) -> None:
        handle = os.open(self._path(call_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, _encode((number, value)) + b"\n")
        finally:
            os.close(handle)

    def of(self, call_id: CallId) -> Mapping[int, Hidden]:
        """A line that was cut by a crash is left out: the journal does not have its event either."""
        try:
            lines = self._path(call_id).read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        values: dict[int, Hidden] = {}
        for line in lines[:-1]:
            try:
                number, value = _line.decode(line)
            except msgspec.MsgspecError:
                log.warning("a hidden value of call %s cannot be read", call_id)
                continue
            values[number] = value
        return values

    def forget(self, call_id: CallId) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(call_id).unlink()

    def keep_only(self, calls: frozenset[CallId]) -> None:
        for path in self._directory.iterdir():
            if path.name not in calls:
                path.unlink()
