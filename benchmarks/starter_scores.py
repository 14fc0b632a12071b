"""How right a model's extractions are on the starter's gold sets: strict micro-F1, through the real command.

    python -m core train starter-data --data DATA --out DIR --rows 1      # makes DIR/gold
    python -m benchmarks.starter_scores --gold DIR/gold --model starter --out RUNS

Without --gold: the event sets alone, which need no published data. Each set is run by `extract run` (greedy,
grammar on) and scored by `extract score`; sets of one kind are pooled. A second call with the same RUNS goes on
where the first stopped. `--before RUNS2` compares with another model's runs.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from core.extract import gold as golds
from core.extract.run import RunRequest
from core.extract.run import run as extract
from core.extract.schema import Task
from core.extract.score import compare, score
from core.operation import Silent
from core.records import Extraction
from train.starter import gold as sets

KINDS = ("re-fewrel", "re-unseen", "re-unseen6", "re-semeval", "ner", "eehand", "ee")
TASK: dict[str, Task] = {"re": "re", "ner": "ner", "ee": "ee", "eehand": "ee"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", default="", help="kinds, with commas between")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        given.out = given.out or Path(scratch) / "runs"
        if given.gold is None:
            given.gold = Path(scratch) / "gold"
            for one in sets.own(random.Random(7)):
                sets.write(one, given.gold)
        measure(given)


def measure(given: argparse.Namespace) -> None:
    wanted = [kind for kind in given.only.split(",") if kind] or list(KINDS)
    told: dict[str, object] = {"benchmark": "starter_scores", "model": given.model}
    started, rows = time.monotonic(), 0
    for kind in wanted:
        files = sorted(file for file in given.gold.glob(f"{kind}*.jsonl") if kind_of(file.stem) == kind)
        right: list[Extraction] = []
        found: list[Extraction] = []
        earlier: list[Extraction] = []
        task = TASK[kind.split("-")[0]]
        for file in files:
            gold = list(golds.read(file, task))[: given.limit]
            right += gold
            found += predicted(file, task, given.out / file.stem, given)
            if given.before:
                earlier += list(golds.read(given.before / file.stem / "records.jsonl", task))
        if not right:
            continue
        rows += len(right)
        made = score(right, found, task)
        told[kind] = {
            "f1": round(made.total.f1, 3),
            "interval": [round(bound, 3) for bound in made.total.f1_interval],
            "precision": round(made.total.precision, 3),
            "recall": round(made.total.recall, 3),
            "rows": len(right),
            **{slot: round(figure.f1, 3) for slot, figure in made.slots.items() if len(made.slots) > 1},
        }
        if given.before:
            verdict = compare(right, earlier, found, task)
            told[kind] |= {"before": round(verdict.before, 3), "verdict": verdict.verdict}  # type: ignore[operator]
        print(kind, json.dumps(told[kind]), flush=True)
    told["rows_per_second"] = round(rows / (time.monotonic() - started), 2)
    print(json.dumps(told))


def kind_of(name: str) -> str:
    return "-".join(name.split("-")[: 2 if name.startswith("re-") else 1])


def predicted(file: Path, task: Task, out: Path, given: argparse.Namespace) -> list[Extraction]:
    request = RunRequest(
        input=file,
        text_column="text",
        id_column="id",
        task=(task,),
        schema_ref=str(file.with_name(f"{file.stem}.schema.json")),
        model=given.model,
        out=out,
        limit=given.limit,
        run_anyway=True,
    )
    extract(request, Silent())
    return list(golds.read(out / "records.jsonl", task))


if __name__ == "__main__":
    main()
