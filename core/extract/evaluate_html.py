"""report.html: an evaluation in one file that needs no network and runs no script; every number leads to its sentences.

Everything from files goes through `escape`. A policy in the file forbids whatever else a browser might fetch or run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from core.errors import UserError
from core.extract.evaluate_errors import ERRORS
from core.extract.evaluate_store import Findings, Line, Wanted
from core.records import Extraction

SENTENCES = 200
"""Errors listed a kind and run; of more, the file says how many there are, and errors.jsonl holds them all."""
CELLS = 15
AROUND = 160
"""Characters shown on either side of what an error is about."""
WORDS = {
    "title": "Evaluation",
    "gold": "gold",
    "rules": "rules",
    "task": "task",
    "rows": "rows",
    "run": "run",
    "precision": "precision",
    "recall": "recall",
    "interval": "95% interval",
    "found": "found",
    "right": "right",
    "errors": "Errors by kind",
    "types": "By type",
    "type": "type",
    "confusion": "What was taken for what",
    "none": "none",
    "curve": "Precision and recall by confidence",
    "compare": "Which run is better",
    "better": "better",
    "worse": "worse",
    "cannot tell": "cannot tell",
    "against": "against",
    "difference": "difference in F1",
    "variants": "All runs together",
    "mean": "mean F1",
    "lowest": "lowest",
    "best": "best",
    "chosen": "best on one half, scored on the other",
    "flattering": "The best of several runs on the same gold is partly luck: quote the mean, or what choosing would "
    "have scored.",
    "sentences": "The sentences",
    "first": "the first {n} of {all}; errors.jsonl holds them all",
    "missing": "missing",
    "spurious": "not in gold",
    "wrong_type": "wrong type",
    "wrong_boundary": "wrong boundary",
    "swapped": "head and tail swapped",
    "unlocated": "not in the text",
    "predicted": "predicted",
    "notes": "To be known",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --ink: #0b7285; }
body {
  font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere;
}
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: end; vertical-align: top; }
th:first-child, td:first-child, .words td { text-align: start; }
.big { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.big div { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem; }
.big b { font-size: 1.7rem; display: block; font-weight: 600; }
small, .soft { opacity: .75; }
mark { background: color-mix(in srgb, var(--ink) 25%, transparent); color: inherit; border-radius: 2px; }
mark.said { background: color-mix(in srgb, #d9480f 25%, transparent); }
a { color: var(--ink); }
details { border-bottom: 1px solid var(--line); padding: .3rem 0; }
svg { max-width: 32rem; width: 100%; height: auto; }
"""


def render(
    report: Mapping[str, Any],
    findings: Findings,
    words: Mapping[str, str] = WORDS,
    note: Callable[[Mapping[str, Any]], str] = lambda told: str(UserError.from_dict(dict(told))),
) -> str:
    """The whole document. `report`: as report.json holds it; `words` and `note`: in a reader's language."""
    body = "\n".join(_body(report, findings, words, note))
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_(words['title'])}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _(text: object) -> str:
    return escape(str(text).encode("utf-8", "replace").decode())


def _body(
    report: Mapping[str, Any], findings: Findings, words: Mapping[str, str], note: Callable[[Mapping[str, Any]], str]
) -> Iterator[str]:
    runs = report["runs"]
    yield f"<h1>{_(words['title'])}</h1>"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(report["made_at"]))
    yield (
        f"<p class=soft>{_(made)} · {_(words['gold'])}: {_(report['gold']['path'])} · {_(words['task'])}: "
        f"{_(report['task'])} · {_(words['rules'])}: {_(report['rules'])} · {_(words['rows'])}: "
        f"{runs[0]['scores']['documents']:,}</p>"
    )
    for number, run in enumerate(runs):
        yield f"<h2>{_(run['name'])}</h2>"
        yield from _numbers(run, words)
        yield from _errors(run, number, words)
        yield from _types(run, number, words)
        yield from _confusion(run, words)
        yield from _curve(run, words)
    yield from _compared(report, words)
    if report["notes"]:
        told = [f"{one['run']}: {note(one)}".removeprefix(": ") for one in report["notes"]]
        yield f"<h2>{_(words['notes'])}</h2><ul>{''.join(f'<li>{_(one)}</li>' for one in told)}</ul>"
    yield f"<h2>{_(words['sentences'])}</h2>"
    for number, run in enumerate(runs):
        yield from _sentences(findings, run, number, words)


def _numbers(run: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    total = run["scores"]["total"]
    yield "<div class=big>"
    for name in ("precision", "recall", "f1"):
        low, high = total[f"{name}_interval"]
        told = words.get(name, name.upper())
        interval = f"{_(words['interval'])}: {low:.1%} – {high:.1%}"
        yield f"<div>{_(told)}<b>{total[name]:.1%}</b><small>{interval}</small></div>"
    yield "</div>"
    yield (
        f"<p class=soft>{_(words['gold'])} {total['gold']:,} · {_(words['found'])} {total['predicted']:,} · "
        f"{_(words['right'])} {total['correct']:,}</p>"
    )


def _errors(run: Mapping[str, Any], number: int, words: Mapping[str, str]) -> Iterator[str]:
    rows = [[f'<a href="#e{number}-{kind}">{_(words[kind])}</a>', f"{run['errors'][kind]:,}"] for kind in ERRORS]
    yield f"<h3>{_(words['errors'])}</h3>{_table([], rows)}"


def _types(run: Mapping[str, Any], number: int, words: Mapping[str, str]) -> Iterator[str]:
    head = [words[name] for name in ("type", "gold", "found", "right", "precision", "recall")] + [
        "F1",
        words["interval"],
    ]
    rows = []
    for name, one in run["scores"]["types"].items():
        low, high = one["f1_interval"]
        counts = [f"{one[column]:,}" for column in ("gold", "predicted", "correct")]
        shares = [f"{one[column]:.3f}" for column in ("precision", "recall", "f1")]
        rows.append([_(name), *counts, *shares, f"{low:.3f} – {high:.3f}"])
    yield f"<h3>{_(words['types'])}</h3>{_table(head, rows)}"


def _confusion(run: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for cells in run["confusion"].values():
        labels = often(cells)[:CELLS]
        if len(labels) < 2:
            continue
        labels = [*labels, ""]
        head = ["", *(label or words["none"] for label in labels)]
        rows = [
            [_(gold or words["none"]), *(_cell(cells.get(gold, {}).get(pred, 0)) for pred in labels)] for gold in labels
        ]
        yield f"<h3>{_(words['confusion'])}</h3>{_table(head, rows)}"


def often(cells: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Those that occur most first, without the empty one."""
    times: dict[str, int] = {}
    for gold, row in cells.items():
        for pred, number in row.items():
            for label in {gold, pred}:
                times[label] = times.get(label, 0) + number
    times.pop("", None)
    return sorted(times, key=lambda label: (-times[label], label))


def _cell(number: int) -> str:
    return f"{number:,}" if number else "<span class=soft>·</span>"


def _curve(run: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    points = run["curve"]
    if len(points) < 2:
        return
    drawn = " ".join(f"{40 + 300 * one['recall']:.1f},{310 - 300 * one['precision']:.1f}" for one in points)
    yield f"<h3>{_(words['curve'])}</h3>"
    yield (
        '<svg viewBox="0 0 360 350" role="img"><rect x="40" y="10" width="300" height="300" fill="none" '
        f'stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{drawn}" fill="none" stroke="#0b7285" stroke-width="2"/>'
        f'<text x="190" y="340" text-anchor="middle" fill="currentColor" font-size="13">{_(words["recall"])}</text>'
        '<text x="14" y="160" text-anchor="middle" fill="currentColor" font-size="13" transform="rotate(-90 14 160)">'
        f"{_(words['precision'])}</text></svg>"
    )


def _compared(report: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    if not report["versus"]:
        return
    names = [run["name"] for run in report["runs"]]
    rows = []
    for pair in report["versus"]:
        one = pair["comparison"]
        low, high = one["interval"]
        told = f"{names[pair['after']]} {words['against']} {names[pair['before']]}"
        rows.append([_(told), _(words[one["verdict"]]), f"{one['difference']:+.3f}", f"{low:+.3f} – {high:+.3f}"])
    yield f"<h2>{_(words['compare'])}</h2>{_table(['', '', words['difference'], words['interval']], rows)}"
    several = report["variants"]
    if several:
        low, high = several["mean_interval"]
        rows = [
            [_(words["mean"]), f"{several['mean']:.3f} ({low:.3f} – {high:.3f})"],
            [_(words["lowest"]), f"{several['lowest']:.3f}"],
            [_(f"{words['best']}: {names[several['best_run']]}"), f"{several['best']:.3f}"],
            [_(words["chosen"]), f"{several['chosen']:.3f}"],
        ]
        yield f"<h3>{_(words['variants'])}</h3>{_table([], rows)}<p class=soft>{_(words['flattering'])}</p>"


def _sentences(findings: Findings, run: Mapping[str, Any], number: int, words: Mapping[str, str]) -> Iterator[str]:
    for kind in ERRORS:
        count = run["errors"][kind]
        if not count:
            continue
        told = f"{run['name']}: {words[kind]} ({count:,})"
        yield f'<section id="e{number}-{kind}"><h3>{_(told)}</h3>'
        if count > SENTENCES:
            yield f"<p class=soft>{_(words['first'].format(n=SENTENCES, all=f'{count:,}'))}</p>"
        for line in findings.lines(Wanted(number, (kind,)), SENTENCES):
            gold, pred = findings.pair(number, line.doc)
            yield _sentence(line, gold, pred, words)
        yield "</section>"


def _sentence(line: Line, gold: Extraction, pred: Extraction, words: Mapping[str, str]) -> str:
    sides = []
    if line.gold_record:
        sides.append(f"{_(words['gold'])}: <mark>{_(line.gold_words)}</mark> {_(line.gold_label or '')}")
    if line.pred_record:
        sides.append(
            f"{_(words['predicted'])}: <mark class=said>{_(line.pred_words)}</mark> {_(line.pred_label or '')}"
        )
    marks = [*_places(gold, line.gold_record, ""), *_places(pred, line.pred_record, " class=said")]
    told = " · ".join([_(line.id or line.doc + 1), *sides])
    return f"<details open><summary>{told}</summary>{_marked(gold.text, marks)}</details>"


Mark = tuple[int, int, str]


def _places(row: Extraction, record: str | None, look: str) -> list[Mark]:
    if record is None:
        return []
    kind, _colon, number = record.partition(":")
    spans: Sequence[Any] = ()
    if kind == "entity":
        spans = (row.entities[int(number)],)
    elif kind == "relation":
        spans = (row.relations[int(number)].head, row.relations[int(number)].tail)
    else:
        event = row.events[int(number)]
        spans = (event.trigger, *event.arguments)
    return [(one.start, one.end, look) for one in spans if one.start is not None and one.end is not None]


def _marked(text: str, marks: Sequence[Mark]) -> str:
    """The text around its marks; of marks that overlap, the first."""
    kept: list[Mark] = []
    for mark in sorted(marks):
        if not kept or mark[0] >= kept[-1][1]:
            kept.append(mark)
    start = max(0, (kept[0][0] if kept else 0) - AROUND)
    end = min(len(text), (kept[-1][1] if kept else 2 * AROUND) + AROUND)
    made, at = ["…" if start else ""], start
    for first, last, look in kept:
        made += [_(text[at:first]), f"<mark{look}>", _(text[first:last]), "</mark>"]
        at = last
    return "".join([*made, _(text[at:end]), "…" if end < len(text) else ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are markup already, `head` is not."""
    top = f"<tr>{''.join(f'<th>{_(cell)}</th>' for cell in head)}</tr>" if head else ""
    return (
        f"<table>{top}{''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)}</table>"
    )
