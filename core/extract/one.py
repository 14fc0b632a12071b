"""Extract from a single text, for a page or a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import UserError
from core.extract import calls
from core.extract.calls import Asked, Options
from core.extract.reads import language_facts
from core.extract.schema import Schema, Task
from core.records import Extraction


def extract_text(
    client: Asked,
    text: str,
    schema: Schema,
    task: Task | Sequence[Task],
    *,
    options: Options | None = None,
    run_anyway: bool = False,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Extraction:
    """The records of one text, one call after the other; `step(done, total)` after each.

    Raises UserError: an empty or too long text, no types for the task, a language the model doesn't
    read (unless `run_anyway`), and what the client raises.
    """
    options = options or Options()
    tasks: Sequence[Task] = (task,) if isinstance(task, str) else task
    if not text.strip():
        raise UserError("There is no text to read.", remedy="Type or paste one.")
    facts = language_facts(client.model, [text], run_anyway=run_anyway)
    parts = calls.parts(schema, tasks, options, client.model)
    wanted = [call for part in parts for call in calls.calls(text, part, options)]
    results = []
    for call in wanted:
        results.append(calls.ask(client, call, options))
        step(len(results), len(wanted))
    told = calls.told(client.model, schema, tasks, options, grammar=calls.uses_grammar(client, options)) | facts
    return calls.finished("text", text, calls.joined(results), told)
