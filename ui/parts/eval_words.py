"""What the kinds of errors, the slots and the figures are called on the page and in the report."""

from __future__ import annotations

from core.extract.evaluate_errors import Kind
from core.extract.evaluate_html import WORDS
from ui.i18n import t


def kind_name(kind: str) -> str:
    names: dict[Kind, str] = {
        "right": t("right"),
        "missing": t("missing"),
        "spurious": t("not in gold"),
        "wrong_type": t("wrong type"),
        "wrong_boundary": t("wrong boundary"),
        "swapped": t("head and tail swapped"),
        "unlocated": t("not in the text"),
    }
    return names[kind]  # type: ignore[index]


def kind_help() -> str:
    return t(
        "Wrong type: the same place under another type. Wrong boundary: the same type, and places that overlap. "
        "Not in the text: words that the text doesn't hold, so nothing can match them."
    )


def slot_name(slot: str) -> str:
    return {
        "entity": t("Entities"),
        "relation": t("Relations"),
        "trigger": t("Triggers"),
        "argument": t("Arguments"),
    }[slot]


def verdict_name(verdict: str) -> str:
    return {"better": t("better"), "worse": t("worse"), "cannot tell": t("cannot tell")}[verdict]


def report_words() -> dict[str, str]:
    """The report's own texts in the person's language."""
    return {
        **WORDS,
        "title": t("Evaluation"),
        "gold": t("gold"),
        "rules": t("rules"),
        "task": t("task"),
        "rows": t("rows"),
        "run": t("run"),
        "precision": t("precision").capitalize(),
        "recall": t("recall").capitalize(),
        "interval": t("95% interval"),
        "found": t("found"),
        "right": t("right"),
        "errors": t("Errors by kind"),
        "types": t("By type"),
        "type": t("type"),
        "confusion": t("What was taken for what"),
        "none": t("none"),
        "curve": t("Precision and recall by confidence"),
        "compare": t("Which run is better"),
        "better": t("better"),
        "worse": t("worse"),
        "cannot tell": t("cannot tell"),
        "against": t("against"),
        "difference": t("difference in F1"),
        "variants": t("All runs together"),
        "mean": t("mean F1"),
        "lowest": t("lowest"),
        "best": t("best"),
        "chosen": t("best on one half, scored on the other"),
        "flattering": flattering(),
        "sentences": t("The sentences"),
        "missing": kind_name("missing"),
        "spurious": kind_name("spurious"),
        "wrong_type": kind_name("wrong_type"),
        "wrong_boundary": kind_name("wrong_boundary"),
        "swapped": kind_name("swapped"),
        "unlocated": kind_name("unlocated"),
        "predicted": t("predicted"),
        "notes": t("To be known"),
        "first": t("the first {n} of {all}; errors.jsonl holds them all"),
    }


def flattering() -> str:
    return t(
        "The best of several runs on the same gold is partly luck: quote the mean, or what choosing would have scored."
    )
