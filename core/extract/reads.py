"""Whether a model reads a text's language, and what is said where it doesn't."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.errors import UserError
from core.extract.language import language_of
from core.models import Model

MARK = UserError(
    "This model does not read this language.",
    remedy="Check its records closely, or run again with a model that declares the language.",
)


def language_facts(model: Model, texts: Iterable[str], *, run_anyway: bool) -> dict[str, Any]:
    """What provenance holds of the language; `warnings` where the model doesn't declare it.

    Raises UserError there unless it is to be run anyway. A model that declares nothing is not judged.
    """
    language = language_of(texts)
    reads = model.reads(language) if language else None
    if reads is False and not run_anyway:
        raise UserError(
            "The model {model} does not read this text's language ({language}); it declares: {declared}.",
            remedy="Choose a model for it, on this machine or behind an OpenAI-compatible address, or run anyway"
            " (--run-anyway): every record will then say that the model does not read this language.",
            model=model.title,
            language=language,
            declared=", ".join(model.card.languages),
        )
    return {"language": language, "reads_language": reads, "warnings": [MARK.to_dict()] if reads is False else []}
