"""``callplane vault``: the keys of the regions, and copies of what is sealed.

``new-key`` and ``drop-key`` change a key file; the rest works on the vault of this POP, by its settings
(``CALLPLANE_POP_STATE_DIR``, ``_REGIONS``, ``_VAULT_...``), also beside its running controller.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pbx.adapters.vault.blobs import DiskBlobs
from pbx.bootstrap import build_vault, open_key_store
from pbx.config import VaultSettings
from pbx.domain.errors import BadValue, CallplaneError, RecordingDamaged
from pbx.recording import region_keys


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="callplane vault", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)

    def action(name: str, text: str, *, region: bool = True) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text)
        if region:
            made.add_argument("--region", required=True)
        return made

    action("new-key", "make the newest key of a region, and the key file if there is none").add_argument(
        "file", type=Path
    )
    action("rewrap", "wrap under the newest key what is wrapped under older ones")
    drop = action("drop-key", "destroy an older key that nothing is wrapped under any more")
    drop.add_argument("--version", type=int, required=True)
    action("verify", "open every recording and say which are damaged", region=False)
    for name, text in (
        ("backup", "copy the sealed files to a directory of the same region, without their keys"),
        ("restore", "take back sealed files that are missing here, if their keys are here"),
    ):
        action(name, text).add_argument("directory", type=Path)
    keys = action("backup-keys", "copy the key store in place of its last copy: keep no older one", region=False)
    keys.add_argument("file", type=Path)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.action == "new-key":
        version = region_keys.add(options.file, options.region)
        print(f"{options.file}: version {version} is the newest key of region {options.region}")
        return 0
    settings = VaultSettings()  # type: ignore[call-arg]  # from the environment
    if not settings.state_dir.is_dir():
        raise BadValue("CALLPLANE_POP_STATE_DIR", "is not a directory")
    match options.action:
        case "rewrap":
            count = open_key_store(settings).rewrap(region_keys.load(settings.key_file), options.region)
            print(f"{count} recordings of region {options.region} are under its newest key now")
        case "drop-key":
            if count := open_key_store(settings).wrapped_under(options.region, options.version):
                raise BadValue(
                    "version", f"{count} recordings are wrapped under it; callplane vault rewrap comes first"
                )
            region_keys.drop(settings.key_file, options.region, options.version)
            print(f"version {options.version} of region {options.region} is destroyed")
        case "verify":
            return _verify(settings)
        case "backup":
            count = build_vault(settings).backup(DiskBlobs(options.directory, options.region))
            print(f"{count} recordings copied to {options.directory}")
        case "restore":
            restored = build_vault(settings).restore(DiskBlobs(options.directory, options.region))
            print(f"{restored.back} recordings came back; {restored.refused} are erased, damaged or of no key here")
        case "backup-keys":
            open_key_store(settings).copy_to(options.file)
            print(f"the key store is copied to {options.file}")
    return 0


def _verify(settings: VaultSettings) -> int:
    vault, store = build_vault(settings), open_key_store(settings)
    damaged = opened = 0
    for region in sorted(settings.regions):
        for recording_id in store.all(region):
            try:
                vault.verify(recording_id)
                opened += 1
            except (RecordingDamaged, OSError) as error:
                damaged += 1
                print(f"{recording_id}: {error}")
            except KeyError:
                continue  # erased meanwhile
    print(f"{opened} recordings open, {damaged} do not")
    return 1 if damaged else 0


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"callplane vault: CALLPLANE_POP_{name}: {problem['msg']}", file=sys.stderr)
    except (CallplaneError, OSError) as error:
        print(f"callplane vault: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
