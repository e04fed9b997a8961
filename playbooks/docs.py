"""Each role's README, made from its meta/argument_specs.yml.

`python -m playbooks.docs` writes them; `--check` writes nothing and fails where one differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent / "roles"


def readme(role: Path) -> str:
    """The README of a role."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    described = spec["description"]
    lines = [
        f"# {role.name}: {spec['short_description'].lower() if role.name != 'tls' else spec['short_description']}",
        "",
        "Made from `meta/argument_specs.yml` by `python -m playbooks.docs`.",
        "",
        " ".join(described if isinstance(described, list) else [described]),
        "",
    ]
    options = spec.get("options") or {}
    if options:
        lines += ["| variable | type | default | |", "|---|---|---|---|", *_rows(options, "")]
    else:
        lines.append("It has no variables.")
    return "\n".join(lines) + "\n"


def _rows(options: Mapping[str, Mapping[str, Any]], prefix: str) -> Iterator[str]:
    for name, option in options.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        default = "required" if option.get("required") else _default(option.get("default"))
        text = option["description"].replace("|", "\\|")
        if "choices" in option:
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        yield f"| `{prefix}{name}` | {kind} | {default} | {text} |"
        yield from _rows(option.get("options") or {}, f"{prefix}{name}.")


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list) and value:
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{value}`" if value != "" else "empty"


def main(arguments: list[str]) -> int:
    differ = 0
    for spec in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = spec.parents[1]
        path, text = role / "README.md", readme(role)
        if path.exists() and path.read_text() == text:
            continue
        differ += 1
        print(f"{'differs' if '--check' in arguments else 'written'}: {path}")
        if "--check" not in arguments:
            path.write_text(text)
    return 1 if differ and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
