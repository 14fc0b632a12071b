"""`python -m core train starter-data`: what the starter adapter is trained on, and the sets it is scored by."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.errors import UserError
from core.operation import Progress, Request, Result, operation
from train.starter import gold, mixture


class StarterDataRequest(Request):
    """Make the starter adapter's training rows and the sets it is scored by, from published and generated sentences."""

    data: Path = Field(
        description="Folder with the published data: ner/crossner, ner/wnut17, re/fewrel_wiki.jsonl, …",
        json_schema_extra={"picker": "folder"},
    )
    out: Path = Field(description="Folder for train.jsonl and gold/", json_schema_extra={"picker": "folder"})
    rows: int = Field(default=60_000, ge=1, description="Training rows", json_schema_extra={"unit": "rows"})
    gold_rows: int = Field(
        default=400, ge=4, description="Rows a set to score by, at most", json_schema_extra={"unit": "rows"}
    )
    mixture: Literal["broad", "relations", "last"] = Field(
        default="broad", description="Shares of the sources, as train/starter/mixtures.json has them"
    )
    seed: int = Field(default=7, ge=0, description="Seed of every choice", json_schema_extra={"advanced": True})


class StarterDataResult(Result):
    out: Path
    rows: int
    sources: dict[str, int]
    sets: dict[str, int]


@operation("train", "starter-data")
def run(request: StarterDataRequest, progress: Progress) -> StarterDataResult:
    if not (request.data / "re" / "fewrel_wiki.jsonl").is_file():
        raise UserError(
            "{path} does not hold the published data.",
            remedy="Choose the folder that holds ner/crossner, ner/wnut17 and re/fewrel_wiki.jsonl.",
            path=request.data,
        )
    request.out.mkdir(parents=True, exist_ok=True)
    made: Counter[str] = Counter()
    target = request.out / "train.jsonl"
    temporary = target.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as out:
        for row in mixture.rows(request.data, request.rows, random.Random(request.seed), request.mixture):
            made[row.source] += 1
            told = {"prompt": row.prompt, "completion": row.completion, "source": row.source}
            out.write(json.dumps(told, ensure_ascii=False) + "\n")
            progress.step(made.total(), request.rows, "rows")
    temporary.replace(target)
    sets = {}
    for one in gold.sets(request.data, most=request.gold_rows, seed=request.seed):
        gold.write(one, request.out / "gold")
        sets[one.name] = len(one.rows)
    return StarterDataResult(out=request.out, rows=made.total(), sources=dict(made.most_common()), sets=sets)
