"""The form of any operation, drawn from its Request: label, help, bounds, unit, default and choices of each field."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.errors import UserError
from core.operation import Request
from ui.i18n import t
from ui.parts.errors import plain, show_error
from ui.parts.pickers import file_picker, folder_picker, model_picker, schema_picker

R = TypeVar("R", bound=Request)

SPELLED = {
    "gguf": "GGUF",
    "hf": "Hugging Face",
    "id": "ID",
    "url": "URL",
    "lora": "LoRA",
    "gb": "GB",
    "csv": "CSV",
    "html": "HTML",
}

# pydantic's error types as a person reads them; its own words for the rest.
REASONS = {
    "greater_than_equal": ("ge", lambda n: t("must be at least {n}", n=n)),
    "greater_than": ("gt", lambda n: t("must be more than {n}", n=n)),
    "less_than_equal": ("le", lambda n: t("must be at most {n}", n=n)),
    "less_than": ("lt", lambda n: t("must be less than {n}", n=n)),
}


@dataclass(frozen=True)
class FormField:
    """One field of a Request, with its Optional taken off."""

    name: str
    kind: Any
    optional: bool
    info: FieldInfo

    @property
    def extra(self) -> dict:
        return self.info.json_schema_extra if isinstance(self.info.json_schema_extra, dict) else {}

    @property
    def label(self) -> str:
        unit = self.extra.get("unit")
        return f"{t(label_of(self.name))} ({t(unit)})" if unit else t(label_of(self.name))

    @property
    def help(self) -> str | None:
        return t(self.info.description) if self.info.description else None

    @property
    def bounds(self) -> dict[str, Any]:
        """ge, gt, le, lt, multiple_of, as declared."""
        names = ("ge", "gt", "le", "lt", "multiple_of")
        return {name: getattr(rule, name) for rule in self.info.metadata for name in names if hasattr(rule, name)}


def request_form(
    request_type: type[R], key: str, *, hide: Sequence[str] = (), defaults: Mapping[str, Any] | None = None
) -> R | None:
    """Draw the form; return the Request, or None while something is missing or wrong, which is then said.

    `defaults` replace the fields' own; a hidden field takes its default. Fields marked `advanced` are folded.
    """
    given = dict(defaults or {})
    shown = [field for field in fields_of(request_type) if field.name not in hide]
    values = {name: given[name] for name in given if name in hide}
    for field in (field for field in shown if not field.extra.get("advanced")):
        values[field.name] = _draw(field, key, given)
    folded = [field for field in shown if field.extra.get("advanced")]
    if folded:
        with st.expander(t("Advanced"), icon=":material/tune:"):
            for field in folded:
                values[field.name] = _draw(field, key, given)
    return _validated(request_type, {name: value for name, value in values.items() if value is not None}, given)


def fields_of(model: type[BaseModel]) -> list[FormField]:
    return [FormField(name, *_unwrap(info.annotation), info) for name, info in model.model_fields.items()]


def label_of(name: str) -> str:
    """`text_column` → `Text column`, `gguf` → `GGUF`."""
    words = name.removesuffix("_ref").replace("_", " ").strip()
    label = " ".join(SPELLED.get(word, word) for word in words.split())
    return label[:1].upper() + label[1:]


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """(the type without None, whether None was one of its choices)."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _draw(field: FormField, key: str, given: Mapping[str, Any]) -> Any:
    default = given.get(
        field.name, None if field.info.is_required() else field.info.get_default(call_default_factory=True)
    )
    key = f"{key}.{field.name}"
    kind = field.kind
    picker = {"file": file_picker, "folder": folder_picker, "model": model_picker, "schema": schema_picker}.get(
        field.extra.get("picker", "folder" if kind is Path else "")
    )
    if picker:
        return picker(field.label, key, value="" if default is None else str(default), help=field.help)
    if kind is bool:
        return st.toggle(field.label, bool(default), key=key, help=field.help)
    if get_origin(kind) is Literal:
        return _choice(field, key, default)
    if kind in (int, float):
        return _number(field, key, default)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _nested(field, key, default)
    if get_origin(kind) in (tuple, list, set, frozenset):
        return _several(field, key, default)
    return st.text_input(field.label, default or "", key=key, help=field.help) or None


def _choice(field: FormField, key: str, default: Any) -> Any:
    options = get_args(field.kind)
    index = options.index(default) if default in options else None
    return st.selectbox(
        field.label, options, index, format_func=lambda choice: t(str(choice)), key=key, help=field.help
    )


def _number(field: FormField, key: str, default: Any) -> float | int | None:
    whole = field.kind is int
    bounds = field.bounds
    step = bounds.get("multiple_of") or (1 if whole else 0.05)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    return st.number_input(
        field.label,
        min_value=None if low is None else field.kind(low),
        max_value=None if high is None else field.kind(high),
        value=None if default is None else field.kind(default),
        step=field.kind(step),
        key=key,
        help=field.help,
        placeholder=t("not set"),
    )


def _several(field: FormField, key: str, default: Any) -> tuple[str, ...]:
    """A tuple of choices as a multiple choice, a tuple of anything else one a line."""
    inner = (get_args(field.kind) or (str,))[0]
    if get_origin(inner) is Literal:
        return tuple(
            st.multiselect(
                field.label,
                get_args(inner),
                default or (),
                format_func=lambda one: t(str(one)),
                key=key,
                help=field.help,
            )
        )
    text = st.text_area(
        field.label,
        "\n".join(map(str, default or ())),
        key=key,
        help=field.help,
        placeholder=t("one a line"),
        height=100,
    )
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _nested(field: FormField, key: str, default: Any) -> dict[str, Any]:
    """A model inside the Request (decoding settings): its own fields, in one bordered group."""
    given = default.model_dump() if isinstance(default, BaseModel) else dict(default or {})
    with st.container(border=True):
        st.caption(field.label, help=field.help)
        drawn = {inner.name: _draw(inner, key, given) for inner in fields_of(field.kind)}
    return {name: value for name, value in drawn.items() if value is not None}


def _validated(request_type: type[R], values: dict[str, Any], given: Mapping[str, Any]) -> R | None:
    try:
        return request_type(**values)
    except UserError as error:
        show_error(error)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=True)
        missing = [_place(one["loc"]) for one in said if one["type"] == "missing"]
        wrong = [f"**{plain(_place(one['loc']))}** {plain(_reason(one))}" for one in said if one["type"] != "missing"]
        if wrong:
            st.error("  \n".join(wrong), icon=":material/error:")
        if missing:
            st.caption(f":material/edit: {t('Still needed: {fields}', fields=', '.join(missing))}")
    return None


def _place(loc: tuple) -> str:
    return " › ".join(t(label_of(str(part))) for part in loc)


def _reason(error: Any) -> str:
    if error["type"] in REASONS:
        bound, say = REASONS[error["type"]]
        return say(error["ctx"][bound])
    return str(error["msg"]).removeprefix("Value error, ")
