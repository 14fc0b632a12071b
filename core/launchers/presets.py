"""Settings from files: what `--config FILE` reads, and the presets that lie in train/configs.

A file holds some of a Request's fields by name, in YAML or JSON. Relative paths in it count from where the person
stands, as they do on the command line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from core import paths
from core.errors import UserError
from core.operation import Request

FOLDER = paths.PROJECT / "train" / "configs"
_MAX = 1_000_000


def names() -> tuple[str, ...]:
    """The presets for fine-tuning, by name: `read(file(name), FinetuneRequest)` gives their fields."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def file(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


def read(source: Path, request: type[Request]) -> dict[str, Any]:
    """{field: value} as the file gives them, each fit for its field. Raises UserError: unreadable, unknown, unfit."""
    content = _parsed(source)
    made: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        name = next((own for own, info in request.model_fields.items() if name in (own, _spoken(info))), name)
        if name not in request.model_fields:
            raise UserError(
                "{file} sets “{name}”, which is no setting of this.",
                remedy="Correct or remove it. The settings are: {known}.",
                file=source,
                name=key,
                known=", ".join(request.model_fields),
            )
        info = request.model_fields[name]
        if isinstance(value, bool) and info.annotation is not bool:
            value = "on" if value else "off"  # what YAML makes of a bare on and off
        try:
            kind: Any = Annotated[info.annotation, info]
            made[name] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise UserError(
                "{file} sets “{name}” to {value}, which it can't be: {why}.",
                remedy="Correct that line.",
                file=source,
                name=key,
                value=json.dumps(value, ensure_ascii=False, default=str)[:100],
                why=error.errors(include_url=False)[0]["msg"],
            ) from error
    return made


def _spoken(info: Any) -> str:
    """The option's name where it is not the field's (`schema` for schema_ref)."""
    return next((str(rule.name) for rule in info.metadata if getattr(rule, "name", None)), "")


def _parsed(source: Path) -> dict[str, Any]:
    import yaml

    try:
        if source.stat().st_size > _MAX:
            raise ValueError("it is larger than 1 MB")
        text = source.read_text(encoding="utf-8-sig")
        # JSON is read as such: YAML takes 3e-4 for a word.
        content = json.loads(text) if source.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UserError(
            "The settings {file} can't be read: {why}.",
            remedy="Name a YAML or JSON file with settings.",
            file=source,
            why=error.strerror or error,
        ) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(
            "The settings {file} can't be read: {why}.",
            remedy="Name a YAML or JSON file with settings.",
            file=source,
            why=" ".join(str(error).split())[:200] or type(error).__name__,
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(
            "The settings {file} are no list of names with values.",
            remedy="Write one setting a line: its name, a colon, its value.",
            file=source,
        )
    return content
