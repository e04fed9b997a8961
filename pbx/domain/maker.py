"""Values made at a fifth of the cost, for those that are made at each decision.

The ``__init__`` of a frozen dataclass sets each field by a call of ``object.__setattr__``, for freezing forbids the
plain way. A maker fills in an instance of a twin, laid out like the class and not frozen, and hands it over as the
class's own. What comes out is no different: frozen, and equal to what the class itself would have made. Of a class
that is not frozen a maker saves the detour by ``type.__call__``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_OPEN = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """A function that takes what ``kind`` takes, a dataclass with slots, and makes the same. Raises TypeError for any
    other class, and where making is more than setting fields."""
    cls = cast(Any, kind)
    own = vars(cls)
    if not ("__slots__" in own and "__dataclass_params__" in own) or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} is no dataclass with slots, or more than its fields")
    fields = dataclasses.fields(cls)
    names: dict[str, Any] = {"_new": object.__new__, "_class": cls, "_made": cls}
    takes: dict[bool, list[str]] = {False: [], True: []}
    for field in fields:
        if not field.init or field.default_factory is not dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} is set by more than a value")
        names[f"_default_{field.name}"] = field.default
        default = "" if field.default is dataclasses.MISSING else f"=_default_{field.name}"
        takes[field.kw_only is True].append(field.name + default)
    lines = [
        f"def make({', '.join((*takes[False], *(['*'] if takes[True] else ()), *takes[True]))}):",
        " _self = _new(_made)",
        *(f" _self.{field.name} = {field.name}" for field in fields),
    ]
    if own["__dataclass_params__"].frozen:
        names["_made"] = type(cls.__name__, cls.__bases__, {"__slots__": own["__slots__"], **_OPEN})
        lines.append(" _self.__class__ = _class")
    exec("\n".join((*lines, " return _self")), names)  # noqa: S102  # names of fields alone, as in dataclasses
    return cast("Callable[P, T]", names["make"])
