"""The POP's view of its configuration bucket, kept equal to the journal's copy. No I/O but the journal's."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from pbx.ports.journal import Journal
from pbx.ports.link import LinkHandler
from pbx.wire.config_bucket import COMPLETE_KEY, OPERATION_HEADER, REVISION_HEADER
from pbx.wire.messages import ConfigEntry

log = logging.getLogger(__name__)

_ORDER = {"prompt": -1, "queue": 0, "agent": 1, "flow": 2, "did": 3}
"""What is named comes before what names it; deletions go the other way."""


@dataclass(frozen=True, slots=True)
class Change:
    """One message of the bucket; ``payload`` None: the key was deleted."""

    key: str
    revision: int
    payload: bytes | None


def change_of(key: str, headers: dict[str, str] | None, data: bytes) -> Change:
    found = headers or {}
    deleted = found.get(OPERATION_HEADER) in ("DEL", "PURGE")
    revision = found.get(REVISION_HEADER, "0")
    return Change(key, int(revision) if revision.isdigit() else 0, None if deleted else data)


class ConfigMirror:
    """Applies what the bucket says, to the journal first and then to the handler, only where something changed."""

    def __init__(self, journal: Journal, handler: LinkHandler) -> None:
        self._journal = journal
        self._handler = handler
        self._decoder = msgspec.json.Decoder(ConfigEntry)
        self._known = journal.config()
        self._revisions: dict[str, int] = {}
        self.complete = False
        """The bucket has been filled: what it lacks does not exist."""
        self.revision: int | None = None
        """The newest revision handled; None before the first snapshot."""

    def snapshot(self, changes: Iterable[Change]) -> None:
        """The whole bucket. It is the truth, also where its revisions are older than ours (the centre began anew)."""
        newest = {change.key: change for change in changes}
        self._revisions = {key: change.revision for key, change in newest.items()}
        marker = newest.pop(COMPLETE_KEY, None)
        self.complete = marker is not None and marker.payload is not None
        present = {key: change for key, change in newest.items() if change.payload is not None}
        gone = set(self._known) - set(present)
        if not self.complete:
            gone &= newest.keys()  # deleted in so many words
        for key in sorted(present, key=_rank):
            self._apply(present[key])
        for key in sorted(gone, key=_rank, reverse=True):
            self._delete(key)
        self.revision = max(self._revisions.values(), default=0)

    def live(self, change: Change) -> bool:
        """One change as it happens. True: the bucket has just been completed, and a new snapshot is due."""
        if change.revision < self._revisions.get(change.key, 0):
            return False  # it was sent before the snapshot was taken
        self._revisions[change.key] = change.revision
        self.revision = max(self.revision or 0, change.revision)
        if change.key == COMPLETE_KEY:
            return True
        if change.payload is None:
            self._delete(change.key)
        else:
            self._apply(change)
        return False

    def _apply(self, change: Change) -> None:
        try:
            entry = self._decoder.decode(change.payload or b"")
        except msgspec.MsgspecError as error:
            # A newer centre's kind of entity, perhaps: the former value stays in force.
            kind = change.key.partition(".")[0]  # the rest may be a number
            log.error("a %s of revision %d cannot be read and was not applied: %s", kind, change.revision, error)
            return
        if self._known.get(change.key) == entry:
            return
        self._known[change.key] = entry
        self._journal.put_config(change.key, entry)
        self._handler.config_changed(change.key, entry)

    def _delete(self, key: str) -> None:
        if self._known.pop(key, None) is None:
            return
        self._journal.delete_config(key)
        self._handler.config_changed(key, None)


def _rank(key: str) -> tuple[int, str]:
    return _ORDER.get(key.partition(".")[0], 4), key
