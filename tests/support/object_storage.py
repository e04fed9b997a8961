"""A real object storage for tests: SeaweedFS, on the loopback, with one pair of keys."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from obstore.exceptions import BaseError

from pbx.adapters.vault.s3 import Storage
from tests.support.ports import free_port

READY_S = 60.0
ACCESS, SECRET = "tests", "only-for-tests"


class SeaweedFS:
    """``with SeaweedFS(["eu", "us"]) as storage``: a bucket ``callplane-REGION`` for each."""

    def __init__(self, regions: list[str]) -> None:
        self._regions = regions
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="callplane-weed-"))

    def __enter__(self) -> Self:
        weed = Path(sys.executable).with_name("weed")
        identity = {
            "name": "callplane",
            "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        config = self._directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
        ports = dict(
            zip(
                (*names, "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"),
                (free_port() for _ in range(8)),
                strict=True,
            )
        )
        self.url = f"http://127.0.0.1:{ports['s3.port']}"
        self._filer = f"http://127.0.0.1:{ports['filer.port']}"
        self._log = self._directory / "log"
        command = [str(weed), "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self._directory}"]
        command += [f"-s3.config={config}", "-volume.max=20", "-master.volumeSizeLimitMB=64", "-volume.minFreeSpace=0"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._directory, start_new_session=True
            )
        try:
            for region in self._regions:
                self._make(f"callplane-{region}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self, bucket: str) -> None:
        """A bucket is a directory of the filer; it answers a while after its port does."""
        deadline = time.monotonic() + READY_S
        request = urllib.request.Request(f"{self._filer}/buckets/{bucket}/", method="POST")  # noqa: S310
        probe = self.storage.store(bucket.removeprefix("callplane-"))
        while True:
            try:
                self._post(request)
                probe.put("probe", b"x")
                probe.delete("probe")
                return
            except (OSError, BaseError) as error:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise AssertionError(f"no object storage: {error}\n{self._log.read_text()[-3000:]}") from error
                time.sleep(0.1)

    def _post(self, request: urllib.request.Request) -> None:
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already
                raise

    @property
    def storage(self) -> Storage:
        return Storage(self.url, "callplane-{region}", "us-east-1", ACCESS, SECRET, allow_http=True)

    def pause(self) -> None:
        """It answers nobody, until ``resume``."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
