"""Every text that a person can read has its Chinese, with the same fields, and no Chinese is left over."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from core import operation
from tests.conftest import PROJECT
from ui.i18n import TABLES, chinese
from ui.parts.request_form import fields_of, label_of

SCANNED = ("core", "train", "ui")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SAME_IN_BOTH = re.compile(r"^[\W\d_]*$|^[A-Z][A-Z0-9_]+$")
"""Abbreviations and symbols: GGUF, BF16, GB."""


def test_every_text_has_its_chinese() -> None:
    missing = {text: place for text, place in wanted().items() if not (text in chinese() or SAME_IN_BOTH.match(text))}
    assert not missing, "no Chinese for:\n" + "\n".join(f"{place}: {text!r}" for text, place in sorted(missing.items()))


def test_the_chinese_keeps_the_fields_of_the_english() -> None:
    differing = {
        english: own for english, own in chinese().items() if fields(english) != fields(own) and english in wanted()
    }
    assert not differing


def test_no_chinese_is_left_over() -> None:
    unused = sorted(set(chinese()) - set(wanted()) - may_be_shown())
    assert not unused, "no longer said anywhere:\n" + "\n".join(map(repr, unused))


def test_no_text_is_translated_in_two_files() -> None:
    seen: dict[str, str] = {}
    double = []
    for table in sorted(TABLES.glob("*.json")):
        rows = json.loads(table.read_text(encoding="utf-8"), object_pairs_hook=list)
        for english, own in rows:
            if english in seen and seen[english][1] != own:
                double.append((english, seen[english][0], table.name))
            seen[english] = (table.name, own)
    assert not double, "translated differently in two places"


def test_the_chinese_is_chinese() -> None:
    latin = [english for english, own in chinese().items() if len(words(english)) > 2 and not CHINESE.search(own)]
    assert not latin


def words(template: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"\{\w*\}", "", template))


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@cache
def wanted() -> dict[str, str]:
    """{English text: where it stands}: what the code says, and what operations' forms show."""
    found: dict[str, str] = {}
    for package in SCANNED:
        for path in sorted((PROJECT / package).rglob("*.py")):
            place = str(path.relative_to(PROJECT))
            for text, line in said_in(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(text, f"{place}:{line}")
    for key, made in operation.operations().items():
        for text in [made.title, *shown_in_form(made.request), *shown_in_receipt(made)]:
            found.setdefault(text, f"the operation “{key}”")
    for text in from_data():
        found.setdefault(text, "data")
    return {text: place for text, place in found.items() if text.strip()}


def may_be_shown() -> set[str]:
    """Descriptions, labels and units of models that a page may draw on its own, such as decoding settings."""
    found: set[str] = set()
    for package in SCANNED:
        for path in (PROJECT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Field":
                    found.update(text for keyword in node.keywords for text in literals(keyword.value))
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found.add(label_of(node.target.id))
                elif isinstance(node, ast.Dict):
                    found.update(text for key, value in zip(node.keys, node.values, strict=True)
                                 if getattr(key, "value", "") == "unit" for text in literals(value))  # fmt: skip
    return found


def said_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """UserErrors' problems and remedies, `t("…")`, units of progress, reasons of engines and of fits."""
    constants = {
        target.id: node.value.value
        for node in ast.iter_child_nodes(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((text, node.lineno) for text in texts_of_call(node))
            # one remedy of many problems, named once in its module
            named = (keyword.value for keyword in node.keywords if keyword.arg == "remedy")
            yield from ((constants[name.id], node.lineno) for name in named if getattr(name, "id", "") in constants)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if any(name == "why" or name.startswith("WHY_") for name in names):
                yield from ((text, node.lineno) for text in literals(node.value))


def texts_of_call(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "t" and call.args:
        yield from literals(call.args[0])
    elif "remedy" in named and name not in ("error_text", "dict"):
        yield from literals(named["remedy"])
        if call.args:
            yield from literals(call.args[0])
    elif name == "step" and len(call.args) > 2:
        yield from literals(call.args[2])
    elif name == "metric" and getattr(getattr(call.func, "value", None), "id", "") != "st":  # a job's, not the widget
        yield from (label_of(keyword.arg) for keyword in call.keywords if keyword.arg)
    elif name == "Fit" and len(call.args) > 4:
        yield from literals(call.args[4])


def literals(node: ast.AST | None) -> Iterator[str]:
    """The string a node is, or the strings it may be (`a if x else b`)."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def shown_in_form(model: type[BaseModel]) -> Iterator[str]:
    """Labels, descriptions, units and choices of a Request's fields and of the models inside it."""
    for field in fields_of(model):
        yield label_of(field.name)
        if field.info.description:
            yield field.info.description
        if unit := field.extra.get("unit"):
            yield str(unit)
        yield from choices(field.kind)
        if isinstance(field.kind, type) and issubclass(field.kind, BaseModel):
            yield from shown_in_form(field.kind)


def shown_in_receipt(made: operation.Operation) -> list[str]:
    return [label_of(name) for name in get_type_hints(made.run)["return"].model_fields]


def choices(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from (str(choice) for choice in get_args(kind))
    elif get_origin(kind) in (tuple, list, set, frozenset):
        for inner in get_args(kind):
            yield from choices(inner)


def from_data() -> Iterator[str]:
    """Texts that stand in data files and are shown."""
    for row in json.loads((PROJECT / "core" / "weights" / "catalog.json").read_text(encoding="utf-8"))["models"]:
        yield row.get("note", "")
