"""The form of a job file: which keys there are, what values they take, and where in the file each one stands."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from kcompressd.errors import NOT_PARSED, JobError
from kcompressd.machine import Costs, Machine
from kcompressd.node import Node
from kcompressd.workload import Workload

Tree: TypeAlias = dict[str, Any]
"""A job's tables as TOML has them."""

_INT, _LIST, _TEXT, _TABLE = (int,), (list,), (str,), (dict,)


def _of_fields(table: str, kind: type) -> dict[str, tuple[type, ...]]:
    """The keys of a table that stands for a dataclass, with what TOML has for each field's type."""
    forms: dict[object, tuple[type, ...]] = {float: (int, float), tuple: _LIST, Mapping: _TABLE, Literal: _TEXT}
    hints = get_type_hints(kind)
    first = {name: get_args(hint)[0] if isinstance(hint, UnionType) else hint for name, hint in hints.items()}
    origins = {name: get_origin(hint) or hint for name, hint in first.items()}
    return {f"{table}.{name}": forms.get(origin, (origin,)) for name, origin in origins.items()}


KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "pages": _TEXT,
    "limit": _INT,
    "repeat": _INT,
    "calibration": _TEXT,
    "design": (str, dict),
    "store": _TEXT,
    "compressor": _TEXT,
    "kernel": _TEXT,
    "threads": _INT,
    "page_size": _INT,
    "depth": _INT,
    "pool_limit": (int, str),
    "chain_size": _INT,
    "accept_threshold_percent": _INT,
    "shrinker_enabled": (bool,),
    "seed": _INT,
    "memcg": _LIST,
    "about": _TABLE,
    "sweep": _TABLE,
    "sweep.mode": _TEXT,
    "sweep.seeds": (int, list),
    "sweep.axis": _LIST,
    "node": _TABLE,
    "node.cpus": _INT,
    "node.kswapd": _INT,
    **_of_fields("node", Node),
    "machine": _TABLE,
    "machine.preset": _TEXT,
    **_of_fields("machine", Machine),
    "costs": _TABLE,
    **_of_fields("costs", Costs),
    "workload": (dict, list),
    **{key: types for key, types in _of_fields("workload", Workload).items() if key != "workload.gaps_ns"},
    "workload.fault": _TEXT,
    "workload.app_threads": _INT,
    "workload.trace": _TEXT,
}
"""Every key, by its whole name, with the types that it takes. Tables not named here in full are `OPEN`."""

OPEN: Final[Mapping[str, tuple[type, ...]]] = {
    "about": (str,),
    "machine.nice": (int,),
    "machine.affinity": (list,),
    "design": (str, int, bool, list),
}
"""Tables whose keys are checked elsewhere or are free, with the types of their values."""

_FILES: Final = ("pages", "calibration", "workload.trace")
_WORDS: Final[Mapping[type, str]] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
    bool: "a truth",
}
_HEADER = re.compile(r"\s*\[{1,2}\s*([A-Za-z0-9_.\"' -]+?)\s*\]{1,2}")
_NUMBER: Final = re.compile(r"\.\d+(?=\.)")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_.\"-]+)\s*=")


def parse(text: str, origin: str) -> Tree:
    """Parse a job file; raises `JobError` naming the file, the line and the key of what is wrong."""
    try:
        tree = tomllib.loads(text)
    except NOT_PARSED as error:
        raise JobError(origin, f"not TOML: {error}", _in_quotes(text)) from None
    lines = dict(_lines(text))
    refuse_strangers(tree, lambda key: f"{origin}:{lines[key]}" if key in lines else origin)
    return tree


def _in_quotes(text: str) -> str:
    """The likeliest fix of a file that is not TOML: the first text that stands without quotes, with them."""
    bare = re.finditer(r"^[ \t]*([\w.-]+[ \t]*=[ \t]*)([A-Za-z][\w./-]*)[ \t]*(?:#.*)?$", text, re.MULTILINE)
    found = (match for match in bare if match[2] not in ("true", "false", "inf", "nan"))
    return next((f'texts stand in quotes: {match[1]}"{match[2]}"' for match in found), "")


def refuse_strangers(tree: Mapping[str, Any], place: Any) -> None:
    """Raise `JobError` for a key that no job has or a value of a wrong type; `place` says where a key stands (of the second
    table of `[[workload]]` it is asked for "workload.1.kind").
    """
    for spot, value in _walk(tree, ""):
        key = _NUMBER.sub("", spot)
        table, _, name = key.rpartition(".")
        types = KEYS.get(key) or OPEN.get(table)
        if types is None:
            raise JobError(place(spot), f"{key}: no such key", _suggestion(key))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(_WORDS[kind] for kind in types)
            raise JobError(place(spot), f"{key} = {value!r} is not {wanted}")
        if key in _FILES and not value:
            raise JobError(place(spot), f"{key} = {value!r} names no file")
        if (
            name
            and key not in ("memcg", "workload", "sweep.axis")
            and isinstance(value, list)
            and not all(isinstance(item, int | str) for item in value)
        ):
            raise JobError(place(spot), f"{key} = {value!r} is no list of numbers or names")


def _walk(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        yield key, value
        if isinstance(value, dict):
            yield from _walk(value, f"{key}.")
        elif key == "workload" and isinstance(value, list):
            for number, inner in enumerate(value):
                if not isinstance(inner, dict):
                    raise JobError(key, f"{inner!r} is no table", "write [[workload]] above each application's keys")
                yield from _walk(inner, f"{key}.{number}.")


def _suggestion(key: str) -> str:
    """The nearest key of the same table, else the key of that name of another one, else all of the table."""
    table, _, name = key.rpartition(".")
    beside = {known.rpartition(".")[2]: known for known in KEYS if known.rpartition(".")[0] == table}
    near = [beside[close] for close in difflib.get_close_matches(name, beside, n=1)]
    near = near or [known for known in KEYS if known.rpartition(".")[2] == name]
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(beside or (known for known in KEYS if '.' not in known))}"


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Where each key stands: whole names with line numbers from 1."""
    table, seen = "", Counter[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header[1].replace('"', "")
            yield name, number
            table = f"{name}.{seen[name]}." if line.lstrip().startswith("[[") else f"{name}."
            seen[name] += 1
        elif assignment := _ASSIGNMENT.match(line):
            yield table + assignment[1].replace('"', ""), number


def set_key(tree: Tree, key: str, value: Any) -> None:
    """Set a key by its whole name, making tables on the way; raises `JobError` where a value is no table."""
    *tables, last = key.split(".")
    for name in tables:
        inner = tree.setdefault(name, {})
        if isinstance(inner, str) and name == "design":
            inner = tree[name] = {"preset": inner}
        if isinstance(inner, list):
            raise JobError(
                key,
                f"there are {len(inner)} [[{name}]] tables",
                f"write {last} into the file, in the one that you mean",
            )
        if not isinstance(inner, dict):
            raise JobError(key, f"{name} = {inner!r} is no table")
        tree = inner
    tree[last] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse "node.cpus=8" as --set takes it: the value as in TOML, or a text as it stands; raises `JobError`."""
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise JobError(f"--set {text}", "is not KEY=VALUE", "such as node.cpus=8")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except NOT_PARSED:
        return key, value
    return key, value if KEYS.get(key) == _TEXT and not isinstance(found, str) else found  # kernel=6.12
