"""``callplane country | prompts | render``: each takes its arguments and returns the exit status.

0: done. 1: the input was refused, or ``--check`` found a difference. 2: wrong usage (argparse).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import get_args

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dialplans import page
from dialplans import prompts as prompt_files
from dialplans.pack import PackError, load_pack
from dialplans.prompts import PromptError
from dialplans.render import RenderError
from dialplans.render import render as render_files
from dialplans.schema import Engine, Pop
from dialplans.synth import SynthesisError


def _refuse(reason: object) -> int:
    print(f"callplane: {reason}", file=sys.stderr)
    return 1


def read_pop(path: Path) -> Pop:
    """The POP in a YAML file. Raises RenderError naming the field at fault."""
    try:
        return Pop.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RenderError(str(path), error.strerror or "cannot be read") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RenderError(str(path), f"is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("pop", *first["loc"]))
        raise RenderError(f"{path}: {field}", first["msg"]) from error


def with_trunks(pop: Pop, path: Path) -> Pop:
    """``pop`` with the trunks in a file of ``GET /pops/{pop_id}/dialplan`` in the place of its own.

    Raises RenderError.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if (told["pop_id"], told["country"]) != (pop.pop_id, pop.country):
            raise RenderError(str(path), f"is of POP {told['pop_id']} in {told['country']}")
        return Pop.model_validate({**pop.model_dump(), "trunks": told["trunks"]})
    except OSError as error:
        raise RenderError(str(path), error.strerror or "cannot be read") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RenderError(f"{path}: {'.'.join(map(str, first['loc']))}", first["msg"]) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RenderError(str(path), "is not what the centre tells of a POP's dialplan") from error


def _write(path: Path, data: bytes) -> None:
    """Atomic, and readable by owner and group only: the files hold passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(aside, path)


def render(argv: list[str]) -> int:
    """Writes a POP's media server files; ``--check`` writes nothing and fails where a file differs."""
    parser = argparse.ArgumentParser(prog="callplane render", description=render.__doc__)
    parser.add_argument("--pop", type=Path, required=True, metavar="FILE.yml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--check", action="store_true", help="compare only; exit status 1 on a difference")
    parser.add_argument("--engine", choices=get_args(Engine), help="default: the POP's own")
    parser.add_argument("--trunks", type=Path, metavar="FILE.json", help="the POP's trunks, as the centre tells them")
    args = parser.parse_args(argv)
    try:
        pop = read_pop(args.pop) if args.trunks is None else with_trunks(read_pop(args.pop), args.trunks)
        files = render_files(load_pack(pop.country), pop, args.engine)
    except (RenderError, PackError) as error:
        return _refuse(error)
    changed = 0
    for name, data in files.items():
        path = args.out / name
        if path.is_file() and path.read_bytes() == data:
            continue
        changed += 1
        print(f"{'differs' if args.check else 'written'}: {name}")
        if not args.check:
            try:
                _write(path, data)
            except OSError as error:
                return _refuse(f"{path}: {error.strerror}")
    print(f"{len(files)} files, {changed} {'differ' if args.check else 'written'}")
    return 1 if args.check and changed else 0


def country(argv: list[str]) -> int:
    """Shows every fact of a country pack with its source and confidence."""
    parser = argparse.ArgumentParser(prog="callplane country", description=country.__doc__)
    parser.add_argument("country", metavar="CC", help="ISO 3166-1 alpha-2 code, such as DE")
    parser.add_argument("--html", action="store_true", help="an HTML page on standard output")
    args = parser.parse_args(argv)
    try:
        pack = load_pack(args.country)
    except PackError as error:
        return _refuse(error)
    if args.html:
        print(page.html_page(pack), end="")
        return 0
    console = Console()
    console.print(f"[bold]{pack.name}[/bold] ({pack.iso_alpha2}). Engineering defaults, not legal advice.")
    for section, found in page.rows(pack):
        table = Table("fact", "value", "confidence", "source", title=section.replace("_", " "), title_justify="left")
        for row in found:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print(table)
    return 0


def prompts(argv: list[str]) -> int:
    """Makes the prompt files (``build``) or lists their texts (``list``)."""
    parser = argparse.ArgumentParser(prog="callplane prompts", description=prompts.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    building = verbs.add_parser("build", help="make what is missing or has changed")
    building.add_argument("--dir", type=Path, default=prompt_files.default_dir(), help="default: %(default)s")
    building.add_argument("--language", action="append", help="only this language; may be given more than once")
    listing = verbs.add_parser("list", help="texts by language")
    listing.add_argument("--language", action="append")
    args = parser.parse_args(argv)
    try:
        if args.verb == "list":
            for language in args.language or prompt_files.catalogue():
                for prompt_id, text in prompt_files.texts_of(language).items():
                    print(f"{language}\t{prompt_id}\t{text}")
                for tone in prompt_files.TONES:
                    print(f"{language}\t{tone}\t(a tone)")
            return 0
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("prompts", total=None)
            built = prompt_files.build(
                args.dir,
                args.language,
                lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
            )
    except (PromptError, SynthesisError, OSError) as error:
        return _refuse(error)
    total = sum(len(made) for made in built.manifest.prompts.values()) + len(built.manifest.music)
    print(f"{args.dir}: {total} files, {len(built.made)} made, {len(built.removed)} removed")
    return 0
