"""Sealed files in S3-compatible object storage, a bucket for each region, by obstore (the object_store crate).

What the storage and whoever keeps it can see: names that are recordings' ids, sizes and times. Objects are sealed
before they leave this host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

PART = 8 << 20
"""Bytes of a part of an upload; as many again are held for each of the parts that are under way."""
PARTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Storage:
    """``bucket`` holds ``{region}``. ``allow_http``: without TLS."""

    url: str
    bucket: str
    location: str
    access_key: str
    secret_key: str
    allow_http: bool = False
    timeout_s: float = 30.0
    """Of one request."""

    def store(self, region: str) -> S3Store:
        retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=self.timeout_s)}
        return S3Store(
            self.bucket.format(region=region),
            endpoint=self.url,
            region=self.location,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": self.allow_http, "timeout": timedelta(seconds=self.timeout_s)},
            retry_config=retry,
        )


class S3Blobs:
    """Implements ``pbx.adapters.vault.blobs.Blobs``."""

    def __init__(self, storage: Storage, region: str) -> None:
        self.region = region
        self._store = storage.store(region)

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        """An upload that breaks off leaves parts that nobody sees, for the bucket's own rules to remove."""
        with _oserror(name):
            obstore.put(
                self._store, name, iter(parts), use_multipart=True, chunk_size=PART, max_concurrency=PARTS_AT_ONCE
            )

    def size(self, name: str) -> int | None:
        try:
            with _oserror(name):
                return int(obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int, length: int) -> bytes:
        with _oserror(name):
            return bytes(obstore.get_range(self._store, name, start=offset, length=length))

    def delete(self, name: str) -> None:
        try:
            with _oserror(name):
                obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def names(self) -> Iterator[str]:
        with _oserror(""):
            for page in obstore.list(self._store):
                yield from (str(found["path"]) for found in page)


@contextmanager
def _oserror(name: str) -> Iterator[None]:
    """The library's errors as OSError, by their kind alone: their text has the request in it."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(name) from None
    except BaseError as error:
        raise OSError(f"the object storage failed: {type(error).__name__}") from error
