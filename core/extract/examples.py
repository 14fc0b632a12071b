"""A schema's examples as records, for the prompts that show some."""

from __future__ import annotations

from core.extract.answer import Found
from core.extract.normal import tidy
from core.extract.schema import Example, Task


def said(task: Task, example: Example) -> list[Found]:
    """What an answer for the example's text would say."""
    if task == "ner":
        return [Found(name, tidy(text)) for name, texts in example.entities.items() for text in texts]
    if task == "re":
        pairs = [(name, pair) for name, pairs in example.relations.items() for pair in pairs]
        return [Found(name, tidy(head), (("", tidy(tail)),)) for name, (head, tail) in pairs]
    return [
        Found(
            name,
            tidy(event.get("trigger", "")),
            tuple((role, tidy(text)) for role, text in event.items() if role != "trigger"),
        )
        for name, events in example.events.items()
        for event in events
    ]
