"""How a person may change what a model is asked: examples shown, the instruction's words, grounding.

Without any of it a run's settings and prompts are to the letter what they were before there were such options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.extract import dialects
from core.extract.examples import chosen
from core.extract.schema import Schema, Task
from core.models import Model

if TYPE_CHECKING:
    from core.extract.calls import Options


def check(options: Options, dialect: str) -> None:
    """Raise UserError where the dialect has nothing that an option asks for."""
    has = dialects.find(dialect).VARIANTS
    if options.wording >= has:
        raise UserError(
            "The dialect {dialect} has {count} wordings of its instruction; there is no number {number}.",
            remedy="Choose a number below {count}, or write an instruction of your own.",
            dialect=dialect,
            count=has,
            number=options.wording,
        )


def shown(schema: Schema, options: Options, model: Model) -> int:
    """How many of the schema's examples a prompt shows."""
    if options.examples is None:
        return 0 if model.card.trained_for_extraction else len(schema.examples)
    return min(options.examples, len(schema.examples))


def with_examples(task: Task, schema: Schema, options: Options, model: Model) -> Schema:
    """The schema with those examples alone that a prompt shows."""
    return schema.model_copy(update={"examples": chosen(task, schema, shown(schema, options, model))})


def settings_of(options: Options) -> dict[str, Any]:
    """What of this differs from the usual: stores of earlier runs hold none of it."""
    made: dict[str, Any] = {}
    if options.examples is not None:
        made["examples"] = options.examples
    if options.instruction.strip():
        made["instruction"] = options.instruction.strip()
    if options.wording:
        made["wording"] = options.wording
    if not options.grounding:
        made["grounding"] = "off"
    return made


def facts(options: Options, model: Model, dialect: str) -> dict[str, Any]:
    """What of this stands in a record's provenance, beside how many examples were shown."""
    told = {name: value for name, value in settings_of(options).items() if name != "examples"}
    return told | ({"trained_words": False} if leaves_training(options.instruction, model, dialect) else {})


def warnings(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What must be known before records of such a provenance are believed."""
    left = [OWN_WORDS] if told.get("trained_words") is False else []
    return [warning.to_dict() for warning in (*left, *([NOT_GROUNDED] if told.get("grounding") == "off" else []))]


def leaves_training(instruction: str, model: Model, dialect: str) -> bool:
    """Whether these words aren't those that the model was trained with."""
    return bool(instruction.strip()) and model.card.trained_for_extraction and dialects.find(dialect).WORDED


OWN_WORDS = UserError(
    "The model was asked in other words than those it was trained with.",
    remedy="Compare its scores with those of the usual instruction before you trust the records.",
)
NOT_GROUNDED = UserError(
    "These records may say more than their text: they were not looked for in it.",
    remedy="Check them elsewhere; their places in the text are not known.",
)
