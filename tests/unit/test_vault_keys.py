"""Key files and the key store: what is refused, what is never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pbx.adapters.vault.key_store import KeyStore, KeyStoreError
from pbx.bootstrap import KEY_STORE, build_vault
from pbx.domain.errors import BadValue
from pbx.recording import region_keys
from tests.support.vault_site import ONE, TWO, Site


@pytest.fixture
def eu(tmp_path: Path) -> Site:
    return Site(tmp_path / "eu")


def test_a_key_file_that_others_may_read_is_refused(eu: Site) -> None:
    for mode in (0o640, 0o604, 0o660):
        eu.settings.key_file.chmod(mode)
        with pytest.raises(BadValue, match="0600"):
            eu.again()
    eu.settings.key_file.chmod(0o600)
    link = eu.directory / "link"
    link.symlink_to(eu.settings.key_file)
    with pytest.raises(BadValue, match="cannot be opened"):
        region_keys.load(link)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text + "eu 1 " + "0" * 64 + "\n", "twice"),
        (lambda text: text + "us 1 " + "0" * 64 + "\n", "must not rest"),
        (lambda text: text.replace("eu 1", "us 1"), "must not rest"),
        (lambda text: "", "holds no key"),
        (lambda text: text + "eu 2 abc\n", "line 3"),
    ],
)
def test_a_key_file_that_does_not_fit_is_refused(eu: Site, change: Callable[[str], str], reason: str) -> None:
    path = eu.settings.key_file
    path.write_text(change(path.read_text()))
    with pytest.raises(BadValue, match=reason) as refused:
        build_vault(eu.settings)
    assert "0000" not in str(refused.value)
    assert refused.value.field == region_keys.FIELD


def test_no_key_is_shown(eu: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert eu.cli(monkeypatch, "new-key", str(eu.settings.key_file), "--region", "eu") == 0
    secrets = [line.split()[2] for line in eu.settings.key_file.read_text().splitlines() if not line.startswith("#")]
    assert len(set(secrets)) == 2
    shown = "".join(capfd.readouterr()) + repr(region_keys.load(eu.settings.key_file))
    assert all(secret not in shown and repr(bytes.fromhex(secret)) not in shown for secret in secrets)
    assert "version 2" in shown


def test_new_recordings_are_under_the_newest_key(eu: Site) -> None:
    """A running controller sees that its key file has changed."""
    eu.record(ONE)
    region_keys.add(eu.settings.key_file, "eu")
    eu.record(TWO)
    store = KeyStore(eu.directory / KEY_STORE)
    assert [store.wrapped_under("eu", version) for version in (1, 2)] == [1, 1]
    assert eu.opens(ONE)
    assert eu.opens(TWO)


def test_the_newest_key_is_not_dropped(eu: Site) -> None:
    for version in (1, 7):
        with pytest.raises(BadValue):
            region_keys.drop(eu.settings.key_file, "eu", version)
    assert region_keys.load(eu.settings.key_file).versions("eu") == (1,)


def test_a_key_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"something else" * 1000)
    with pytest.raises(KeyStoreError):
        KeyStore(tmp_path / "keys")
